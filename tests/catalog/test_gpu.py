"""The GPU tables: they load, cite, are plausible, and agree with other people's figures."""

from __future__ import annotations

import math
import os
import tomllib
from csv import DictReader
from datetime import date
from pathlib import Path

import pytest

from fitcalc.catalog.gpu import (
    Gpu,
    Vendor,
    gpu_figures,
    gpu_ids,
    load_gpu,
    load_gpus,
    parse_gpu,
    resolve_gpu,
    search_gpus,
)
from fitcalc.catalog.link import LinkKind, inter_node_link, link_table, parse_link
from fitcalc.catalog.tables import read_toml, root
from fitcalc.errors import TableError, UnknownName
from fitcalc.units import GIB, GIGA, TERA

MEASURED = {
    "a100_sxm_80gb", "arc_pro_b60", "b200_sxm", "b300_sxm", "gb200", "gb300", "h100_sxm",
    "h200_sxm", "l40s", "rtx_pro_6000_server",
}  # fmt: skip
EVERY_GPU = pytest.mark.parametrize("gpu", load_gpus(), ids=lambda gpu: gpu.id)
SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).resolve().parents[3] / "shared"))

KLOCKWOOD = "https://glennklockwood.com/garden/processors/h100"
RESELLER = "https://www.mullet.se/product.html?product_id=355414"
WAREDB = "https://waredb.com/processor/nvidia-geforce-rtx-4090"
TRUTH = [  # gpu, field, value in base units, who says so
    ("h100_sxm", "memory_bandwidth", 3.35 * TERA, KLOCKWOOD),
    ("h100_sxm", "bf16", 989.4 * TERA, KLOCKWOOD),
    ("h100_sxm", "fp8", 1978.9 * TERA, KLOCKWOOD),
    ("h100_sxm", "int8", 1978.9 * TERA, KLOCKWOOD),
    ("h100_sxm", "link", 450 * GIGA, KLOCKWOOD + " (900 both ways)"),
    ("h100_sxm", "power_w", 700, KLOCKWOOD),
    ("h200_sxm", "memory_bandwidth", 4.8 * TERA, "https://aiwiki.ai/wiki/nvidia_h200"),
    ("l40s", "memory_bandwidth", 864 * GIGA, RESELLER),
    ("l40s", "bf16", 362.05 * TERA, RESELLER),
    ("l40s", "fp8", 733 * TERA, RESELLER + " (1,466 is sparse)"),
    ("l40s", "power_w", 350, RESELLER),
    ("rtx_4090", "bf16", 165.15 * TERA, WAREDB),
    ("rtx_4090", "fp8", 330.3 * TERA, WAREDB + " (661 is sparse, or fp16 accumulate)"),
    ("rtx_4090", "memory_bandwidth", 1008 * GIGA, WAREDB),
    ("a10g", "bf16", 70 * TERA, "https://github.com/cli99/llm-analysis (125 is the A10)"),
    ("a10g", "memory_bandwidth", 600 * GIGA,
     "https://www.baseten.co/blog/nvidia-a10-vs-a10g-for-ml-model-inference/"),
    ("rtx_pro_6000_server", "memory_bandwidth", 1597 * GIGA,
     "NVIDIA RTX PRO 6000 Blackwell Server Edition datasheet (1,792 is the workstation card)"),
    ("rtx_pro_6000_workstation", "memory_bandwidth", 1792 * GIGA,
     "https://gpu.name/posts/nvidia-unveils-rtx-pro-6000-blackwell-gpu-with-24-064-cores-and-96gb-memory"),
    ("a100_sxm_80gb", "bf16", 312 * TERA,
     "https://forums.developer.nvidia.com/t/218102 (A100 whitepaper, 624 is sparse)"),
    ("a100_sxm_80gb", "int8", 624 * TERA, "https://forums.developer.nvidia.com/t/218102"),
    ("t4", "fp16", 65 * TERA, "Geektopia, 2018-09-13, at the launch of the T4"),
    ("h20", "bf16", 148 * TERA, "https://willitrunai.com/es/gpus/h20-96gb"),
    ("rtx_3090", "memory_bandwidth", 936 * GIGA,
     "https://holynerdvana.blogspot.com/2022/10/nvidia-geforce-rtx-3090-specifications.html"),
]  # fmt: skip

NAMES = [
    ("h100", "h100_sxm"), ("H100", "h100_sxm"), ("h100_sxm", "h100_sxm"),
    ("h100-sxm", "h100_sxm"), ("NVIDIA H100 80GB HBM3", "h100_sxm"), ("H100-80GB", "h100_sxm"),
    ("NVIDIA H100 PCIe", "h100_pcie"), ("h100 nvl", "h100_nvl"),
    ("h200", "h200_sxm"), ("H200-141GB", "h200_sxm"), ("H200-SXM-141GB", "h200_sxm"),
    ("h20", "h20"), ("H20-96GB", "h20"), ("NVIDIA GH200 480GB", "gh200_96gb"),
    ("a100", "a100_sxm_80gb"), ("a100_sxm", "a100_sxm_80gb"), ("a100-80", "a100_sxm_80gb"),
    ("A100-80GB", "a100_sxm_80gb"), ("a100-40", "a100_sxm_40gb"), ("A100-40GB", "a100_sxm_40gb"),
    ("a100_40gb", "a100_sxm_40gb"), ("A100-SXM4-40GB", "a100_sxm_40gb"),
    ("NVIDIA A100-SXM4-80GB", "a100_sxm_80gb"), ("NVIDIA A100 80GB PCIe", "a100_pcie_80gb"),
    ("A10G", "a10g"), ("A10", "a10"), ("T4", "t4"), ("Tesla T4", "t4"),
    ("Tesla V100-SXM2-32GB", "v100_sxm_32gb"), ("V100-16GB", "v100_sxm_16gb"),
    ("l4", "l4"), ("l40s", "l40s"), ("NVIDIA L40S", "l40s"), ("L40", "l40"),
    ("RTX 4090", "rtx_4090"), ("4090", "rtx_4090"), ("NVIDIA GeForce RTX 4090", "rtx_4090"),
    ("RTX 3090", "rtx_3090"), ("rtx3090", "rtx_3090"), ("RTX 5090", "rtx_5090"),
    ("rtx pro 6000", "rtx_pro_6000_server"), ("RTX PRO 6000", "rtx_pro_6000_server"),
    ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "rtx_pro_6000_workstation"),
    ("NVIDIA RTX 6000 Ada Generation", "rtx_6000_ada"), ("RTX A6000", "rtx_a6000"),
    ("b200", "b200_sxm"), ("b200_sxm", "b200_sxm"), ("b300_sxm", "b300_sxm"), ("B300", "b300_sxm"),
    ("GB200", "gb200"), ("gb300", "gb300"), ("MI300X", "mi300x"),
    ("AMD Instinct MI300X", "mi300x"), ("b60", "arc_pro_b60"), ("gaudi 3", "gaudi3"),
]  # fmt: skip


def _figure(gpu: Gpu, field: str) -> float:
    if field == "link":
        return gpu.link.bandwidth
    return float(gpu.peak_flops[field] if field in gpu.peak_flops else getattr(gpu, field))


@pytest.mark.parametrize(("gpu_id", "field", "value", "source"), TRUTH)
def test_figures_agree_with_other_people(
    gpu_id: str, field: str, value: float, source: str
) -> None:
    assert math.isclose(_figure(load_gpu(gpu_id), field), value, rel_tol=1e-3), source


@EVERY_GPU
def test_figures_are_plausible(gpu: Gpu) -> None:
    nominal = {key: figure for key, figure, _ in gpu_figures(gpu.id)}["memory_nominal"].value
    assert 0.9 * nominal * GIGA < gpu.memory_bytes <= nominal * GIB
    assert gpu.cuda_memory_bytes is None or gpu.cuda_memory_bytes < gpu.memory_bytes
    assert 250 * GIGA < gpu.memory_bandwidth < 10 * TERA
    half = gpu.peak_flops["bf16" if "bf16" in gpu.peak_flops else "fp16"]
    assert half > 50 * TERA
    assert max(gpu.peak_flops.values()) <= 15_000 * TERA
    assert 30 < half / gpu.memory_bandwidth < 500
    assert 15 * GIGA < gpu.pcie_bandwidth <= 121 * GIGA
    assert gpu.pcie_bandwidth <= gpu.link.bandwidth <= 900 * GIGA or gpu.id == "arc_pro_b60"
    assert 1 <= gpu.link.domain <= 72
    assert gpu.gpus_per_node in {1, 2, 4, 8}
    assert gpu.power_w is not None
    assert 50 < gpu.power_w <= 1400


@EVERY_GPU
def test_narrower_formats_are_never_slower(gpu: Gpu) -> None:
    peaks = gpu.peak_flops
    assert peaks.get("bf16", 0) <= peaks.get("fp8", math.inf) <= peaks.get("fp4", math.inf)


def test_native_formats_follow_the_architecture() -> None:
    for gpu in load_gpus():
        if gpu.vendor is Vendor.NVIDIA:
            assert ("bf16" in gpu.peak_flops) == (gpu.capability >= 8.0), gpu.id
            assert ("fp8" in gpu.peak_flops) == (gpu.capability >= 8.9), gpu.id
            assert ("fp4" in gpu.peak_flops) == (gpu.capability >= 10.0), gpu.id
        else:
            assert gpu.capability == 0.0
    assert load_gpu("b300").peak_flops["int8"] < 200 * TERA


@EVERY_GPU
def test_every_figure_is_cited_and_every_source_used(gpu: Gpu) -> None:
    table = read_toml("hardware_db", "gpus", f"{gpu.id}.toml")
    sources = table["sources"]
    assert isinstance(sources, dict)
    cited = {figure.source for _, figure, _ in gpu_figures(gpu.id)}
    assert cited == set(sources)
    for source in sources.values():
        assert source["kind"] in {"datasheet", "measured", "public", "estimate"}
        assert isinstance(source["accessed"], date)
    guessed = {key for key, figure, _ in gpu_figures(gpu.id)
               if sources[figure.source]["kind"] == "estimate"}  # fmt: skip
    assert set(gpu.estimates) == guessed


@EVERY_GPU
def test_efficiencies_come_from_a_measured_gpu(gpu: Gpu) -> None:
    if gpu.id in MEASURED or gpu.id.startswith("gaudi"):
        assert gpu.efficiency_from is None
    else:
        assert gpu.efficiency_from in MEASURED


@pytest.mark.parametrize(("name", "gpu_id"), NAMES)
def test_names_resolve(name: str, gpu_id: str) -> None:
    assert load_gpu(name).id == gpu_id


def test_every_id_name_and_alias_is_one_gpu() -> None:
    aliases = tomllib.loads((root() / "hardware_db" / "aliases.toml").read_text(encoding="utf-8"))
    assert set(aliases) == set(gpu_ids())
    for gpu in load_gpus():
        for name in (gpu.id, gpu.id.upper().replace("_", "-"), gpu.name, *aliases[gpu.id]):
            assert resolve_gpu(name) == gpu.id, name


@pytest.mark.parametrize(
    ("name", "near"),
    [("h300", "h200"), ("RTX 4091", "rtx_4090"), ("v100", "v100_sxm_32gb"), ("MI300Z", "mi300x")],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownName) as caught:
        load_gpu(name)
    assert near in caught.value.near


@pytest.mark.parametrize("name", ["", "nvidia", "banana", "RTX 6000", "H100 H200"])
def test_a_vague_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownName):
        load_gpu(name)


def _h200() -> dict[str, object]:
    return dict(read_toml("hardware_db", "gpus", "h200_sxm.toml"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("memory", 141, "value, unit and source"),
        ("memory", {"value": 141, "unit": "GB"}, "no source"),
        ("memory", {"value": 141, "source": "nvidia_smi"}, "no unit"),
        ("memory", {"value": 141, "unit": "GB", "source": "hearsay"}, "hearsay"),
        ("memory", {"value": 141, "unit": "stone", "source": "nvidia_smi"}, "stone"),
        ("memory", {"value": "141", "unit": "GB", "source": "nvidia_smi"}, "not a number"),
        ("dense_fp61", {"value": 1, "unit": "TFLOPS", "source": "nvidia_smi"}, "dense_fp61"),
        ("link", "nvlink9", "nvlink9"),
        ("vendor", "nvidea", "nvidea"),
        ("sources", {"nvidia_smi": {"title": "no kind"}}, "kind"),
    ],
)
def test_a_broken_table_is_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(TableError, match=message):
        parse_gpu("h200_sxm", _h200() | {key: value}, link_table())


def test_a_missing_key_is_refused() -> None:
    table = _h200()
    del table["memory_bandwidth"]
    with pytest.raises(TableError, match="no memory_bandwidth"):
        parse_gpu("h200_sxm", table, link_table())


def test_a_gpu_is_a_value() -> None:
    assert load_gpu("h200") is load_gpu("H200-SXM")
    assert len({load_gpu("h200"), load_gpu("h200"), load_gpu("h100")}) == 2
    assert [gpu.id for gpu in load_gpus(["h200", "l4", "H200"])] == ["h200_sxm", "l4"]


def test_links_are_one_way_and_reach_their_domain() -> None:
    assert load_gpu("h100").link.kind is LinkKind.NVLINK
    assert load_gpu("gb200").link.domain == 72
    assert load_gpu("h800").link.bandwidth < load_gpu("h100").link.bandwidth
    assert load_gpu("l40s").link == parse_link(link_table(), "pcie4_x16", "test", domain=8)
    assert inter_node_link().bandwidth == 50 * GIGA
    for key in ("pcie3_x16", "pcie4_x16", "pcie5_x8", "pcie5_x16"):
        rate, lanes = 2.0 ** int(key[4]), int(key.partition("_x")[2])  # PCIe 3.0: 8 GT/s a lane
        coded = rate * lanes * (128 / 130) / 8 * GIGA
        assert math.isclose(parse_link(link_table(), key, "test").bandwidth, coded, rel_tol=1e-3)


def test_search_finds_by_any_name() -> None:
    assert search_gpus("RTX 6000 Ada") == ("rtx_6000_ada",)
    assert set(search_gpus("")) == set(gpu_ids())
    assert search_gpus("no such thing") == ()


def test_facts_of_the_research_are_carried_over() -> None:
    path = SHARED / "facts" / "hardware.csv"
    if not path.is_file():
        pytest.skip("the research tables are not beside this checkout")
    with path.open(encoding="utf-8") as file:
        facts = {row["id"]: row for row in DictReader(file)}
    compared = 0
    for fact_id, row in facts.items():
        try:
            gpu = load_gpu(fact_id)
        except UnknownName:
            continue
        if gpu.id == "mi250x":  # one device of a card of two
            continue
        compared += 1
        assert gpu.memory_bandwidth == float(row["mem_bw_gbs"]) * GIGA, gpu.id
        for fmt, column in (("bf16", "bf16_dense"), ("fp8", "fp8_dense"), ("fp4", "fp4_dense")):
            told = row[column]
            assert gpu.peak_flops.get(fmt, 0.0) == (
                0.0 if told in {"none", ""} else float(told) * TERA
            )
    assert compared > 35
