"""Number formats of weights and of the KV cache (models_db/formats.toml)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import cast

from fitcalc.catalog.tables import Toml, figure, read_toml
from fitcalc.errors import InvalidValue, TableError, UnknownName
from fitcalc.units import BITS_PER_BYTE


class Compute(StrEnum):
    """The number format a GEMM multiplies in; also the key of a GPU's dense peak."""

    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"
    FP4 = "fp4"


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """How quantized weights are stored, and what the GPU multiplies.

    ``native_capability`` is the lowest CUDA capability that multiplies in ``compute``; below it
    weights are expanded and the GEMM runs in bf16 (weight-only). None: it always does.
    ``max_capability``: no kernel above it. ``block`` are rows and columns that share a scale.
    """

    id: str
    title: str
    bits: float
    group_size: int | None
    group_scale_bits: float
    group_zero_bits: float
    channel_scale_bytes: float
    block: tuple[int, int] | None
    block_scale_bytes: float
    compute: Compute
    min_capability: float
    native_capability: float | None
    max_capability: float | None
    experts_only: bool
    vllm_quantization: str | None
    aliases: tuple[str, ...]
    source: str

    @property
    def bytes_per_param(self) -> float:
        """Bytes per quantized weight, with group and block scales, without channel scales. [B]"""
        return self.bytes_per_param_at(self.group_size)

    def bytes_per_param_at(self, group_size: int | None) -> float:
        """Bytes per quantized weight with groups of another size. [B]

        Examples:
            >>> load_weight_format("w4a16").bytes_per_param_at(32)
            0.5625
        """
        bits = self.bits
        if group_size:
            bits += (self.group_scale_bits + self.group_zero_bits) / group_size
        if self.block:
            bits += self.block_scale_bytes * BITS_PER_BYTE / (self.block[0] * self.block[1])
        return bits / BITS_PER_BYTE


@dataclass(frozen=True, slots=True)
class KvFormat:
    """How keys and values are stored.

    ``scale_bytes_per_head`` is per token and KV head, for key and value together;
    ``scale_bytes_per_element`` per element; ``mla_bytes_per_token`` replaces the size of an MLA
    entry of one layer where the layout is packed.
    """

    id: str
    title: str
    bytes_per_element: float
    scale_bytes_per_head: float
    scale_bytes_per_element: float
    mla_bytes_per_token: float | None
    vllm_kv_cache_dtype: str
    min_capability: float
    aliases: tuple[str, ...]
    source: str


@lru_cache(maxsize=1)
def _table() -> Toml:
    return read_toml("models_db", "formats.toml")


def _rows(kind: str) -> Mapping[str, Toml]:
    return cast("Mapping[str, Toml]", _table()[kind])


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the table, its numbers cited."""

    where: str
    cells: Toml

    def number(self, key: str) -> float | None:
        if key not in self.cells:
            return None
        sources = cast("Toml", _table()["sources"])
        return figure(self.cells[key], f"{self.where}.{key}", sources).base

    def needed(self, key: str) -> float:
        value = self.number(key)
        if value is None:
            raise TableError(f"{self.where} has no {key}.")
        return value

    def text(self, key: str) -> str:
        return str(self.cells.get(key, ""))

    def source(self, key: str) -> str:
        name = cast("Mapping[str, str]", self.cells[key])["source"]
        return str(cast("Mapping[str, Toml]", _table()["sources"])[name]["title"])

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(cast("list[str]", self.cells.get(key, [])))


@lru_cache(maxsize=1)
def _weights() -> Mapping[str, WeightFormat]:
    return {name: _weight(name, cells) for name, cells in _rows("weights").items()}


def _weight(name: str, cells: Toml) -> WeightFormat:
    row = _Row(f"formats.toml weights.{name}", cells)
    block = cast("list[int] | None", cells.get("block"))
    group = row.number("group_size")
    return WeightFormat(
        id=name,
        title=row.text("title"),
        bits=row.needed("bits"),
        group_size=int(group) if group else None,
        group_scale_bits=row.number("group_scale") or 0.0,
        group_zero_bits=row.number("group_zero") or 0.0,
        channel_scale_bytes=row.number("channel_scale") or 0.0,
        block=(block[0], block[1]) if block else None,
        block_scale_bytes=row.number("block_scale") or 0.0,
        compute=Compute(row.text("compute")),
        min_capability=row.needed("min_capability"),
        native_capability=row.number("native_capability"),
        max_capability=row.number("max_capability"),
        experts_only=bool(cells.get("experts_only", False)),
        vllm_quantization=row.text("vllm_quantization") or None,
        aliases=row.texts("aliases"),
        source=row.source("bits"),
    )


@lru_cache(maxsize=1)
def _kv() -> Mapping[str, KvFormat]:
    return {name: _kv_format(name, cells) for name, cells in _rows("kv").items()}


def _kv_format(name: str, cells: Toml) -> KvFormat:
    row = _Row(f"formats.toml kv.{name}", cells)
    return KvFormat(
        id=name,
        title=row.text("title"),
        bytes_per_element=row.needed("bytes_per_element"),
        scale_bytes_per_head=row.number("scale_per_head") or 0.0,
        scale_bytes_per_element=row.number("scale_per_element") or 0.0,
        mla_bytes_per_token=row.number("mla_bytes_per_token"),
        vllm_kv_cache_dtype=row.text("vllm_kv_cache_dtype"),
        min_capability=row.needed("min_capability"),
        aliases=row.texts("aliases"),
        source=row.source("bytes_per_element"),
    )


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _by_name(formats: Mapping[str, WeightFormat | KvFormat]) -> Mapping[str, str]:
    names = {alias: name for name, row in formats.items() for alias in row.aliases}
    return {_plain(alias): name for alias, name in names.items()} | {name: name for name in formats}


@lru_cache(maxsize=64)
def load_weight_format(name: str) -> WeightFormat:
    """Load a weight format by its id, an alias, or vLLM's name of a quantization method.

    ``compressed-tensors`` names no format: it is whatever the checkpoint holds.

    Raises:
        UnknownName: no such format.
        InvalidValue: vLLM no longer has it, or the name leaves the format open.

    Examples:
        >>> load_weight_format("awq_marlin").id
        'awq_int4'
    """
    refused = cast("Mapping[str, str]", _table()["refused"])
    if _plain(name) in refused:
        raise InvalidValue("quantization", name, refused[_plain(name)])
    if _plain(name) in checkpoint_methods():
        fix = "the checkpoint says which format it holds; name one such as fp8, int8 or w4a16"
        raise InvalidValue("quantization", name, fix)
    known = _by_name(_weights())
    if _plain(name) not in known:
        raise UnknownName("format", name, known, f"known: {', '.join(_weights())}.")
    return _weights()[known[_plain(name)]]


def checkpoint_methods() -> frozenset[str]:
    """Methods of vLLM that leave the format to the checkpoint, in plain spelling."""
    return frozenset({"compressed_tensors", "modelopt_mixed", "auto"})


@lru_cache(maxsize=64)
def load_kv_format(name: str) -> KvFormat:
    """Load a KV cache format by its id, an alias, or vLLM's --kv-cache-dtype.

    Raises:
        UnknownName: no such format.

    Examples:
        >>> load_kv_format("auto").bytes_per_element
        2.0
    """
    known = _by_name(_kv())
    if _plain(name) not in known:
        raise UnknownName("KV cache format", name, known, f"known: {', '.join(_kv())}.")
    return _kv()[known[_plain(name)]]


def weight_format_ids() -> tuple[str, ...]:
    """Every weight format, in the table's order."""
    return tuple(_weights())


def kv_format_ids() -> tuple[str, ...]:
    """Every KV cache format, in the table's order."""
    return tuple(_kv())
