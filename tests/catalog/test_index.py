"""Safetensors headers and indices, whole and hostile."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from fitcalc.catalog.index import INDEX, MAX_HEADER_BYTES, read_index
from fitcalc.errors import InvalidValue

WEIGHT = {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}


def header(table: object, *, length: int | None = None) -> bytes:
    """Return a safetensors file without its data."""
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


def test_a_header_is_read_without_its_data(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(header({"__metadata__": {"format": "pt"}, "a.weight": WEIGHT}))
    index = read_index(file)
    assert index.sized
    assert index.total_bytes == 64
    assert index.tensors[0].shape == (4, 8)


def test_an_index_alone_gives_names_and_a_total(tmp_path: Path) -> None:
    file = tmp_path / INDEX
    file.write_text(json.dumps({"metadata": {"total_size": 64}, "weight_map": {"a": "x.st"}}))
    index = read_index(file)
    assert not index.sized
    assert index.total_bytes == 64


def test_files_beside_an_index_are_read(tmp_path: Path) -> None:
    names = {"a.weight": "1.safetensors", "b.weight": "2.safetensors"}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": names}))
    for name, file in names.items():
        (tmp_path / file).write_bytes(header({name: WEIGHT}))
    for asked in (tmp_path, tmp_path / INDEX):
        index = read_index(asked)
        assert index.sized
        assert {t.name for t in index.tensors} == set(names)
        assert index.total_bytes == 128


def test_weights_held_twice_count_once(tmp_path: Path) -> None:
    """Mistral's folders hold consolidated.safetensors beside the sharded files."""
    (tmp_path / "model-1.safetensors").write_bytes(header({"a.weight": WEIGHT}))
    (tmp_path / "consolidated.safetensors").write_bytes(header({"wq.weight": WEIGHT}))
    assert [t.name for t in read_index(tmp_path).tensors] == ["a.weight"]


NESTED = b"[" * 100_000
HOSTILE = {
    "empty": b"",
    "short": b"\x01\x02",
    "binary": bytes(range(256)) * 8,
    "huge length": struct.pack("<Q", 2**63) + b"{}",
    "longer than allowed": struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{}",
    "longer than the file": header({"a": WEIGHT}, length=10_000),
    "nested": struct.pack("<Q", len(NESTED)) + NESTED,
    "not an object": header([1, 2]),
    "no tensors": header({"__metadata__": {}}),
    "tensor is a number": header({"a": 3}),
    "unknown dtype": header({"a": {**WEIGHT, "dtype": "Q9"}}),
    "negative shape": header({"a": {**WEIGHT, "shape": [-4, 8]}}),
    "bool shape": header({"a": {**WEIGHT, "shape": [True, 32]}}),
    "wrong offsets": header({"a": {**WEIGHT, "data_offsets": [0, 65]}}),
    "three offsets": header({"a": {**WEIGHT, "data_offsets": [0, 1, 2]}}),
    "no offsets": header({"a": {"dtype": "BF16", "shape": [2]}}),
    "dtype is a list": header({"a": {**WEIGHT, "dtype": ["BF16"]}}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_broken_headers_end_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(InvalidValue, match=r"^index = .* is not valid: .*\.$") as caught:
        read_index(file)
    assert "\n" not in str(caught.value)


INDICES = {
    "empty": "",
    "binary": "\x00\x01",
    "nested": "{" * 50_000,
    "no map": json.dumps({"metadata": {"total_size": 5}}),
    "empty map": json.dumps({"metadata": {"total_size": 5}, "weight_map": {}}),
    "map of numbers": json.dumps({"metadata": {"total_size": 5}, "weight_map": {"a": 1}}),
    "no metadata": json.dumps({"weight_map": {"a": "x"}}),
    "total of 0": json.dumps({"metadata": {"total_size": 0}, "weight_map": {"a": "x"}}),
    "total is text": json.dumps({"metadata": {"total_size": "5"}, "weight_map": {"a": "x"}}),
    "total is endless": '{"metadata": {"total_size": Infinity}, "weight_map": {"a": "x"}}',
    "files outside": json.dumps({"weight_map": {"a": "../../../etc/passwd"}}),
}


@pytest.mark.parametrize("content", INDICES.values(), ids=INDICES.keys())
def test_broken_indices_end_in_one_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / INDEX
    file.write_text(content)
    with pytest.raises(InvalidValue, match=r"^index = .* is not valid: .*\.$"):
        read_index(file)


def test_a_missing_file_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="cannot be read"):
        read_index(tmp_path / "none.safetensors")
    with pytest.raises(InvalidValue, match="holds no tensors"):
        read_index(tmp_path)
