"""What a checkpoint holds: tensor names, types and bytes from safetensors headers or an index.

The format: https://huggingface.co/docs/safetensors (8 bytes of length, then a JSON header); an
index (``model.safetensors.index.json``) names the file of each tensor and their total size.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fitcalc.errors import InvalidValue

INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000
"""safetensors refuses longer headers (safetensors/src/tensor.rs, ``MAX_HEADER_SIZE``)."""
MAX_INDEX_BYTES = 256_000_000
_LENGTH_BYTES = 8
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of the types that hold weights as trained; the others hold quantized ones, or scales."""
_TYPES = {
    **FLOATS, "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1,
    "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
    "F4": 0.5, "F6_E2M3": 0.75, "F6_E3M2": 0.75, "C64": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a checkpoint; without a header its type is "" and its shape empty."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: float


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointIndex:
    """The tensors of a checkpoint. ``sized``: from headers, each with its bytes. [B]"""

    source: str
    tensors: tuple[StoredTensor, ...]
    total_bytes: float
    sized: bool


def read_index(path: str | Path) -> CheckpointIndex:
    """Read a .safetensors file's header, an index, or all headers of a folder.

    An index whose files lie beside it is read from their headers; alone it gives names, a total.

    Raises:
        InvalidValue: the file is missing, broken or no checkpoint.
    """
    where = Path(path)
    try:
        if where.is_dir():
            index = where / INDEX
            return read_index(index) if index.is_file() else _from_files(where, _shards(where))
        if where.suffix == ".safetensors":
            return _from_files(where, [where])
        return _from_index(where)
    except OSError as error:
        raise _wrong(where, f"it cannot be read ({error.strerror or error})") from None


def _wrong(path: Path, what: str) -> InvalidValue:
    return InvalidValue("index", path, f"{what}; give {INDEX}, a .safetensors file or their folder")


def _shards(folder: Path) -> list[Path]:
    # Mistral's folders hold the same weights twice; vLLM takes consolidated* only on request.
    files = sorted(folder.glob("*.safetensors"))
    return [f for f in files if not f.name.startswith("consolidated")] or files


def _from_index(path: Path) -> CheckpointIndex:
    if path.stat().st_size > MAX_INDEX_BYTES:
        raise _wrong(path, "it is too large for an index")
    table = _json(path, path.read_bytes())
    names = table.get("weight_map")
    if not isinstance(names, Mapping) or not names:
        raise _wrong(path, "it has no weight_map with tensor names")
    if not all(isinstance(file, str) for file in names.values()):
        raise _wrong(path, "its weight_map does not name files")
    files = {path.parent / Path(file).name for file in cast("Mapping[str, str]", names).values()}
    if all(file.is_file() for file in files):
        return _from_files(path, sorted(files))
    metadata = table.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    if isinstance(total, bool) or not isinstance(total, int | float) or not total > 0:
        raise _wrong(path, "its files are not beside it and it has no metadata.total_size")
    if not math.isfinite(total):
        raise _wrong(path, "its metadata.total_size is not a number of bytes")
    tensors = tuple(StoredTensor(name, "", (), math.nan) for name in names)
    return CheckpointIndex(str(path), tensors, float(total), sized=False)


def _from_files(source: Path, files: Iterable[Path]) -> CheckpointIndex:
    found: dict[str, StoredTensor] = {}
    for file in files:
        for tensor in _header(file):
            found.setdefault(tensor.name, tensor)
    if not found:
        raise _wrong(source, "it holds no tensors")
    total = math.fsum(tensor.bytes for tensor in found.values())
    return CheckpointIndex(str(source), tuple(found.values()), total, sized=True)


def _header(path: Path) -> list[StoredTensor]:
    """Read the header only; the data behind it may be missing."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(_LENGTH_BYTES)
        if len(first) < _LENGTH_BYTES:
            raise _wrong(path, "it is too short for a safetensors header")
        (length,) = struct.unpack("<Q", first)
        if length > MAX_HEADER_BYTES or length > size - _LENGTH_BYTES:
            raise _wrong(path, "its header is longer than the file or than safetensors allows")
        table = _json(path, file.read(length))
    return [_tensor(path, name, row) for name, row in table.items() if name != "__metadata__"]


def _tensor(path: Path, name: str, row: object) -> StoredTensor:
    cells = row if isinstance(row, Mapping) else {}
    dtype, shape, offsets = (cells.get(key) for key in ("dtype", "shape", "data_offsets"))
    numbers = (*shape, *offsets) if isinstance(shape, list) and isinstance(offsets, list) else ()
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers)
    known = isinstance(dtype, str) and dtype in _TYPES
    if not known or not whole or len(numbers) != len(shape or ()) + 2:
        raise _wrong(path, f"tensor {name[:60]!r} has no known dtype, shape and data_offsets")
    dtype = cast("str", dtype)
    sides = tuple(cast("list[int]", shape))
    begin, end = cast("list[int]", offsets)
    expected = math.prod(sides) * _TYPES[dtype]
    if end - begin != math.ceil(expected):
        raise _wrong(path, f"tensor {name[:60]!r} has other bytes than its shape needs")
    return StoredTensor(name, dtype, sides, float(end - begin))


def _json(path: Path, text: bytes) -> dict[str, object]:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        raise _wrong(path, "it is not the JSON that checkpoints hold") from None
    if not isinstance(table, dict):
        raise _wrong(path, "it is not the JSON that checkpoints hold")
    return cast("dict[str, object]", table)
