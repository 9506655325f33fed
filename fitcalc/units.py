"""Units: the only file with a power of ten or two.

Inside fitcalc every quantity is in base units: seconds, bytes, FLOP, FLOP/s, B/s. Tables and users
speak in others; this file turns them.
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fitcalc.errors import InvalidValue

Array: TypeAlias = NDArray[np.float64]
Values: TypeAlias = float | NDArray[np.float64]
"""A scalar or a sweep: physics functions take and return either, elementwise."""

KIB, MIB, GIB, TIB = 2.0**10, 2.0**20, 2.0**30, 2.0**40
KILO, MEGA, GIGA, TERA = 1e3, 1e6, 1e9, 1e12
MILLI, MICRO, FEMTO = 1e-3, 1e-6, 1e-15
BITS_PER_BYTE = 8.0
SECONDS_PER_HOUR = 3600.0
HOURS_PER_YEAR = 8760.0
MINUTES_PER_HOUR = 60.0

TO_BASE: dict[str, float] = {
    "B": 1.0, "KiB": KIB, "MiB": MIB, "GiB": GIB, "GB": GIGA, "MB": MEGA, "TB": TERA,
    "B/s": 1.0, "GB/s": GIGA, "TB/s": TERA, "Gbit/s": GIGA / BITS_PER_BYTE,
    "FLOP/s": 1.0, "TFLOPS": TERA, "TOPS": TERA,
    "s": 1.0, "ms": MILLI, "us": MICRO, "fs": FEMTO,
    "W": 1.0, "1": 1.0, "GPUs": 1.0, "bit": 1.0, "USD/h": 1.0,
}  # fmt: skip
"""Factor from a table's unit to the base unit."""

_COUNT = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<suffix>[km]?)", re.IGNORECASE)
_SIZE = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>B|KiB|MiB|GiB|TiB|KB|MB|GB|TB|)", re.IGNORECASE
)
_SIZES = {"": 1.0, "b": 1.0, "kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB,
          "kb": KILO, "mb": MEGA, "gb": GIGA, "tb": TERA}  # fmt: skip
MAX_TOKENS = 100_000_000
_AMOUNT = r"(?P<number>[0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?)"
_RATE = re.compile(rf"{_AMOUNT}\s*(?P<suffix>[kmb]?)\s*(?:(?:/|per)\s*(?P<per>[a-z]+))?")
_RATES = {"": 1.0, "k": KILO, "m": MEGA, "b": GIGA}
_SPANS = {"s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0,
          "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0,
          "week": 604800.0, "month": 2629800.0}  # fmt: skip
"""Time that a rate counts over; a month is a twelfth of 365.25 days. [s]"""
_TIME = re.compile(rf"{_AMOUNT}\s*(?P<unit>[a-z]*)")
_TIMES = {"": MILLI, "us": MICRO, "ms": MILLI, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0}


def to_base(value: float, unit: str) -> float:
    """Turn a table's figure into base units.

    Raises:
        InvalidValue: the unit is not one of ``TO_BASE``.

    Examples:
        >>> to_base(4.8, "TB/s")
        4800000000000.0
    """
    if unit not in TO_BASE:
        raise InvalidValue("unit", unit, f"use one of {', '.join(TO_BASE)}")
    return value * TO_BASE[unit]


def parse_tokens(text: str, field: str) -> int:
    """Read a token count such as ``8192``, ``8k`` (8,192) or ``1m`` (1,048,576). [tokens]

    Raises:
        InvalidValue: not a whole positive count, or beyond 100 million tokens.

    Examples:
        >>> parse_tokens("8k", "ctx")
        8192
    """
    found = _COUNT.fullmatch(text.strip())
    fix = "give a whole number of tokens above 0, such as 8192 or 8k"
    if found is None:
        raise InvalidValue(field, text, fix)
    scale = {"": 1.0, "k": KIB, "m": MIB}[found["suffix"].lower()]
    count = float(found["number"]) * scale
    if not (count >= 1 and count.is_integer() and count <= MAX_TOKENS):
        raise InvalidValue(field, text, fix)
    return int(count)


def parse_bytes(text: str, field: str) -> float:
    """Read a size such as ``4GiB``, ``500MB`` or ``1073741824``. [B]

    Raises:
        InvalidValue: not a size with a known unit.

    Examples:
        >>> parse_bytes("4GiB", "reserved")
        4294967296.0
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidValue(field, text, "give a size with a unit, such as 4GiB or 500MB")
    return float(found["number"]) * _SIZES[found["unit"].lower()]


def parse_rate(text: str, field: str) -> float:
    """Read a rate such as ``20``, ``20/s``, ``90/min`` or ``1M/day``; k and M are decimal. [1/s]

    Raises:
        InvalidValue: not a number, or over no known time.

    Examples:
        >>> parse_rate("20", "qps"), parse_rate("90/min", "qps"), parse_rate("8.64M/day", "qps")
        (20.0, 1.5, 100.0)
    """
    found = _RATE.fullmatch(text.strip().lower())
    span = _SPANS.get(found["per"] or "s") if found else None
    if found is None or span is None:
        raise InvalidValue(field, text, "give a rate such as 20, 20/s, 90/min or 1M/day")
    return float(found["number"]) * _RATES[found["suffix"]] / span


def parse_milliseconds(text: str, field: str) -> float:
    """Read a time such as ``500`` (milliseconds), ``500ms`` or ``2s``. [ms]

    Raises:
        InvalidValue: not a number, or of no known unit.

    Examples:
        >>> parse_milliseconds("500", "ttft"), parse_milliseconds("1.5s", "ttft")
        (500.0, 1500.0)
    """
    found = _TIME.fullmatch(text.strip().lower())
    if found is None or found["unit"] not in _TIMES:
        raise InvalidValue(field, text, "give a time such as 500, 500ms or 2s")
    if not found["unit"]:
        return float(found["number"])
    return float(found["number"]) * _TIMES[found["unit"]] / MILLI


def parse_share(text: str, field: str) -> float:
    """Read a share such as ``99%`` or ``0.99``. [1]

    Raises:
        InvalidValue: neither a percentage up to 100 nor a number from 0 to 1.

    Examples:
        >>> parse_share("99%", "min_quality"), parse_share("0.4", "mean_share")
        (0.99, 0.4)
    """
    plain = text.strip()
    number, scale = (plain[:-1], 100.0) if plain.endswith("%") else (plain, 1.0)
    try:
        share = float(number) / scale
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise InvalidValue(field, text, "give a share such as 99% or 0.99")
    return share


def is_finite_positive(value: float) -> bool:
    """Whether a number is above 0 and neither NaN nor infinite."""
    return math.isfinite(value) and value > 0
