"""Number formats: bytes of weights as vLLM stores them, and the names people give them."""

import pytest

from fitcalc.catalog.formats import (
    Compute,
    kv_format_ids,
    load_kv_format,
    load_weight_format,
    weight_format_ids,
)
from fitcalc.errors import InvalidValue, UnknownName


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("bf16", 2.0),
        ("fp8", 1.0),
        ("fp8_block", 1 + 4 / 16384),
        ("awq_int4", 0.5 + 2 / 128 + 0.5 / 128),
        ("gptq_int4", 0.5 + 2 / 128),
        ("nvfp4", 0.5 + 1 / 16),
        ("mxfp4", 0.5 + 1 / 32),
        ("mxfp8", 1 + 1 / 32),
    ],
)
def test_bytes_of_a_weight_as_the_formats_define_them(name: str, size: float) -> None:
    assert load_weight_format(name).bytes_per_param == pytest.approx(size, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("awq_marlin", "awq_int4"),
        ("gptq_marlin", "gptq_int4"),
        ("modelopt", "fp8"),
        ("modelopt_fp4", "nvfp4"),
        ("gpt_oss_mxfp4", "mxfp4"),
        ("FP8_per_tensor", "fp8"),
        ("W8A8", "int8"),
        ("bfloat16", "bf16"),
    ],
)
def test_names_of_vllm_resolve(name: str, row: str) -> None:
    assert load_weight_format(name).id == row


@pytest.mark.parametrize("name", ["bitsandbytes", "gguf", "compressed-tensors"])
def test_methods_without_one_format_are_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match=name):
        load_weight_format(name)


def test_unknown_formats_are_named() -> None:
    with pytest.raises(UnknownName, match="'fp8'"):
        load_weight_format("fp88")
    with pytest.raises(UnknownName, match="fp8"):
        load_kv_format("fp88")


def test_every_format_is_cited_and_can_be_multiplied() -> None:
    for name in weight_format_ids():
        row = load_weight_format(name)
        assert row.source.startswith("vLLM 0.33.0")
        assert row.compute in Compute
        assert row.native_capability is None or row.native_capability >= row.min_capability
        assert all(load_weight_format(alias) is row for alias in row.aliases)
    for name in kv_format_ids():
        kv = load_kv_format(name)
        assert kv.source.startswith("vLLM 0.33.0")
        assert all(load_kv_format(alias) is kv for alias in kv.aliases)


def test_kv_formats_as_vllm_sizes_them() -> None:
    assert load_kv_format("fp8_ds_mla").mla_bytes_per_token == 656
    assert load_kv_format("nvfp4_ds_mla").mla_bytes_per_token == 352
    assert load_kv_format("int8_per_token_head").scale_bytes_per_head == 8
    nvfp4 = load_kv_format("nvfp4")
    # a key or value of 128 elements: 64 B of values and 8 B of scales
    assert 128 * (nvfp4.bytes_per_element + nvfp4.scale_bytes_per_element) == 72
