"""Loading efficiencies: measured, transferred, pooled; and what is refused."""

from __future__ import annotations

import math
import time

import pytest

from fitcalc.answers import Calibrated
from fitcalc.catalog.efficiency import NATIVE, RANKS, load_efficiency, nearest_ranks
from fitcalc.catalog.fitted import fitted_ids, parse_fitted, read_fitted
from fitcalc.catalog.formats import weight_format_ids
from fitcalc.catalog.gpu import gpu_ids, load_gpu, load_gpus
from fitcalc.errors import TableError

MEASURED = (
    "a100_sxm_80gb", "arc_pro_b60", "b200_sxm", "b300_sxm", "gb200", "gb300", "h100_sxm",
    "h200_sxm", "l40s", "rtx_pro_6000_server",
)  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_measured_gpus_answer_with_their_own_figures(name: str) -> None:
    got = load_efficiency(load_gpu(name))
    assert got.calibrated is Calibrated.MEASURED
    assert got.gemm["bf16"].calibrated is Calibrated.MEASURED
    assert got.gemm["bf16"].origin.startswith(f"{name} bf16 vllm")


@pytest.mark.parametrize("name", gpu_ids())
def test_every_gpu_has_a_plausible_law_for_every_format(name: str) -> None:
    gpu = load_gpu(name)
    got = load_efficiency(gpu)
    assert set(weight_format_ids()) <= set(got.gemm) == set(got.moe) == set(NATIVE)
    for fitted in got.gemm.values():
        law = fitted.law
        assert 0.1 < float(law.eta_flops) <= 1
        assert 0.4 < float(law.eta_bandwidth) <= 1
        assert 1e-7 <= float(law.t0_s) < 5e-5
        assert law.bandwidth == gpu.memory_bandwidth
        assert law.peak_flops in gpu.peak_flops.values()
    assert set(got.all_reduce) == set(RANKS)


def test_fractions_transfer_and_peaks_do_not() -> None:
    h100, nvl = (load_efficiency(load_gpu(name)) for name in ("h100_sxm", "h100_nvl"))
    assert nvl.calibrated is Calibrated.TRANSFERRED
    assert nvl.gemm["fp8"].law.eta_flops == h100.gemm["fp8"].law.eta_flops
    assert nvl.gemm["fp8"].law.peak_flops == load_gpu("h100_nvl").peak_flops["fp8"]


def test_links_transfer_within_their_family_only() -> None:
    a100, a10 = (load_efficiency(load_gpu(name)) for name in ("a100_sxm_80gb", "a10"))
    assert a10.gemm["bf16"].law.eta_flops == a100.gemm["bf16"].law.eta_flops
    assert a10.all_reduce[4].origin == "default pcie"
    assert a10.all_reduce[4].calibrated is Calibrated.DATASHEET


def test_weights_without_a_native_format_are_multiplied_in_16_bits() -> None:
    a100 = load_gpu("a100_sxm_80gb")
    fp8 = load_efficiency(a100).gemm["fp8"]
    assert fp8.law.peak_flops == a100.peak_flops["bf16"]
    assert fp8.calibrated is Calibrated.TRANSFERRED


def test_a_gpu_without_a_relative_gets_the_pooled_figures() -> None:
    got = load_efficiency(load_gpu("gaudi3"))
    assert got.calibrated is Calibrated.DATASHEET
    assert got.gemm["bf16"].coefficients is read_fitted("default")["gemm"]["bf16"]


def test_the_same_ranks_or_the_next_measured() -> None:
    assert [nearest_ranks(n) for n in (1, 2, 6, 8, 72)] == [2, 2, 8, 8, 8]


def test_every_figure_comes_with_its_error_and_count() -> None:
    for name in fitted_ids():
        for rows in read_fitted(name).values():
            for row in rows.values():
                assert row.n > len(row.values)
                known = [row.standard_error[c] for c in row.values]
                assert any(math.isfinite(error) and error > 0 for error in known)
                assert row.residual[0] < 1 < row.residual[2]


def test_all_gpus_load_quickly() -> None:
    gpus = load_gpus()
    read_fitted.cache_clear()
    start = time.perf_counter()
    for gpu in gpus:
        load_efficiency(gpu)
    assert time.perf_counter() - start < 0.2  # 24 ms on two cores


def test_a_row_without_its_error_is_refused() -> None:
    row = {"value": [0.8], "n": 9, "residual": [0.9, 1, 1.1], "engine": "vllm"}
    table = {"glue": {"coefficients": ["eta_bandwidth"], "units": ["1"], "any": row}}
    with pytest.raises(TableError, match=r"glue\.any has no standard_error"):
        parse_fitted(table, "x.toml")


def test_a_row_that_names_too_few_values_is_refused() -> None:
    row = {"value": [], "standard_error": [0.1], "n": 9, "residual": [1, 1, 1], "engine": "vllm"}
    table = {"glue": {"coefficients": ["eta_bandwidth"], "units": ["1"], "any": row}}
    with pytest.raises(TableError, match="must give 1 values"):
        parse_fitted(table, "x.toml")


def test_results_without_a_source_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fitcalc.catalog.fitted.read_toml", lambda *_: {"gpu": "nobody"})
    with pytest.raises(TableError, match=r"nobody.toml has no source"):
        read_fitted("nobody")
