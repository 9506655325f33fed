"""What is known of a device, as facts.toml holds it beside the rows."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from fitcalc.errors import InvalidValue

Fact = str | int | float | bool
Facts = Mapping[str, Fact]
FILE = "facts.toml"
IDENTITY = ("system", "name", "memory_bytes", "mig", "ecc", "power_limit_w", "cores", "torch")
"""A folder holds the rows of one device in one state, measured with one torch."""
HEADER = "# Written by `fitcalc calibrate`: the device whose rows lie beside this file.\n"


def read_facts(folder: Path) -> Facts | None:
    """Read a folder's facts; None where it has none.

    Raises:
        InvalidValue: the file is not TOML.
    """
    path = folder / FILE
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except tomllib.TOMLDecodeError as error:
        raise InvalidValue("out", path, f"it is not TOML ({error}); move it away") from None


def write_facts(folder: Path, facts: Facts) -> None:
    """Write a folder's facts."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in facts.items()]
    (folder / FILE).write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")


def claim(folder: Path, facts: Facts) -> None:
    """Make a folder this device's, or refuse one that holds another's rows.

    Raises:
        InvalidValue: the folder cannot be written, or holds rows of another device.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidValue("out", folder, "it is a file; give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = read_facts(folder)
        if before is None:
            write_facts(folder, facts)
    except OSError as error:
        raise InvalidValue("out", folder, f"it cannot be used ({error.strerror})") from None
    for name in IDENTITY:
        was, now = (before or facts).get(name), facts.get(name)
        if was != now:
            what = f"it holds rows measured with {name} = {was!r}, and now that is {now!r}"
            raise InvalidValue("out", folder, f"{what}; give another folder")
