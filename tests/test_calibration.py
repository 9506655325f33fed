"""Fits: coefficients that made synthetic measurements are found again."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from fitcalc.calibrate.fit import (
    Card,
    Routing,
    fit_all_reduce,
    fit_attention_decode,
    fit_attention_prefill,
    fit_exchange,
    fit_gemm,
    fit_memory,
    fit_moe,
)
from fitcalc.calibrate.published import read_published
from fitcalc.calibrate.rebuild import rebuild
from fitcalc.calibrate.rows import FORMATS
from fitcalc.calibrate.solve import Fit
from fitcalc.calibrate.tables import GEMM, Table, read_table
from fitcalc.catalog.efficiency import load_efficiency
from fitcalc.catalog.fitted import parse_fitted
from fitcalc.catalog.gpu import load_gpu
from fitcalc.catalog.laws import (
    AllReduceLaw,
    AttentionDecodeLaw,
    AttentionPrefillLaw,
    ExchangeLaw,
    GemmLaw,
    MemoryLaw,
    MoeLaw,
)
from fitcalc.errors import InvalidValue, TableError
from fitcalc.physics.attention import attention_decode_s, attention_prefill_s
from fitcalc.physics.collectives import all_reduce_s, exchange_s
from fitcalc.physics.experts import moe_s
from fitcalc.physics.kernels import gemm_s, memory_bound_s
from fitcalc.units import Array, Values

NOISE = 0.05
PEAK, BANDWIDTH, LINK = 1e15, 3e12, 450e9
SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).parents[2] / "shared"))


def grid(**axes: list[float]) -> dict[str, Array]:
    mesh = np.meshgrid(*axes.values(), indexing="ij")
    return {name: column.ravel() for name, column in zip(axes, mesh, strict=True)}


def rows(columns: Mapping[str, Array], seconds: Values, latency: str, unit: float) -> Table:
    noise = np.random.default_rng(0).lognormal(0.0, NOISE, np.shape(seconds))
    all_columns = {**columns, latency: np.asarray(seconds) * noise / unit}
    return Table({name: column.astype(str) for name, column in all_columns.items()})


def assert_found(fit: Fit, truth: Mapping[str, float]) -> None:
    """Every coefficient within three of its standard errors, which must be small."""
    for name, value in truth.items():
        off, error = abs(fit.values[name] - value), fit.standard_errors[name]
        assert off < 3 * error, f"{name}: {fit.values[name]} is not {value} +- {error}"
        assert error < 0.5 * value, f"{name}: {error} says nothing about {value}"
    assert fit.error == pytest.approx(0.6745 * NOISE, rel=0.3)  # median of |normal|


def test_gemm_coefficients_are_found_again() -> None:
    at = grid(
        m=[1, 4, 16, 17, 64, 65, 128, 129, 256, 512, 2048, 8192],
        n=[1024, 4096, 16384, 65536],
        k=[1024, 4096, 16384],
    )
    truth = {
        "eta_flops": 0.7,
        "eta_bandwidth": 0.85,
        "t0_s": 5e-6,
        "rows_half": 40.0,
        "passes": 3.0,
        "depth_half": 500.0,
        "tail": 5e5,
        "depth_s": 3e-10,
        "unfilled": 0.5,
    }
    law = GemmLaw(PEAK, BANDWIDTH, **truth)
    table = rows(at, gemm_s(at["m"], at["n"], at["k"], 2.0, law), "latency_ms", 1e-3)
    assert_found(fit_gemm([Card(table, PEAK, BANDWIDTH)], 2.0), truth)
    slow = {**truth, "eta_bandwidth": 0.7, "t0_s": 7e-6}
    twin = GemmLaw(PEAK, BANDWIDTH / 2, **slow)
    other = rows(at, gemm_s(at["m"], at["n"], at["k"], 2.0, twin), "latency_ms", 1e-3)
    cards = [Card(other, PEAK, BANDWIDTH / 2), Card(table, PEAK, BANDWIDTH)]
    found = fit_gemm(cards, 2.0)
    assert_found(found, slow)
    assert found.n == len(other)


def test_decode_attention_coefficients_are_found_again() -> None:
    at = grid(
        batch_size=[1, 8, 64, 512],
        ctx=[128, 1024, 8192, 65536],
        num_heads=[32],
        kv_heads=[1, 8],
        head_dim=[128],
    )
    truth = {"eta_bandwidth": 0.8, "t0_s": 1e-5, "sequence_tokens": 60.0}
    law = AttentionDecodeLaw(PEAK, BANDWIDTH, eta_flops=0.5, **truth)
    seconds = attention_decode_s(
        at["batch_size"], at["batch_size"] * at["ctx"], 32, 128, 512 * at["kv_heads"], law
    )
    table = rows(at, seconds, "latency_us", 1e-6)
    assert_found(fit_attention_decode(table, PEAK, BANDWIDTH, 2.0, 0.5), truth)


def test_prefill_attention_coefficients_are_found_again() -> None:
    at = grid(
        batch_size=[1, 2, 8, 32],
        isl=[64, 256, 1024, 4096, 16384],
        num_heads=[4, 8, 32, 64],
        kv_heads=[1, 4],
        head_dim=[128],
    )
    truth = {
        "eta_flops": 0.6,
        "t0_s": 1.5e-5,
        "length_half": 900.0,
        "tail": 4e4,
        "passes": 20.0,
    }
    law = AttentionPrefillLaw(PEAK, BANDWIDTH, **truth)
    batch, isl, kv_bytes = at["batch_size"], at["isl"], 512 * at["kv_heads"]
    seconds = attention_prefill_s(
        batch * isl**2 / 2, batch * isl, at["num_heads"], 128, kv_bytes, law
    )
    table = rows(at, seconds, "latency_us", 1e-6)
    assert_found(fit_attention_prefill(table, PEAK, BANDWIDTH, 2.0), truth)


def test_expert_coefficients_are_found_again() -> None:
    at = grid(
        num_tokens=[1, 4, 16, 64, 256, 1024, 4096, 16384],
        hidden_size=[2048, 7168],
        inter_size=[1024, 4096],
        topk=[8],
        num_experts=[64, 256],
        moe_tp_size=[1],
        moe_ep_size=[1, 8],
    )
    truth = {
        "eta_flops": 0.5, "eta_bandwidth": 0.8, "t0_s": 2e-5, "rows_half": 60.0, "passes": 6.0,
    }  # fmt: skip
    routing = Routing(dispersion=1.5, imbalance=2.0)
    law = MoeLaw(PEAK, BANDWIDTH, **truth, **routing._asdict())
    seconds = moe_s(
        at["num_tokens"], at["hidden_size"], at["inter_size"], 8, at["num_experts"], 1.0, law,
        ep=at["moe_ep_size"],
    )  # fmt: skip
    table = rows(at, seconds, "latency_us", 1e-6)
    skewed = Table({**table.words, "distribution": np.full(len(table), "power_law_1.2")})
    assert_found(fit_moe(skewed, PEAK, BANDWIDTH, 1.0, routing), truth)
    assert_found(fit_moe(skewed, PEAK, BANDWIDTH, 1.0), {**truth, **routing._asdict()})


def test_collective_coefficients_are_found_again() -> None:
    at = grid(bytes=[float(2**power) for power in range(8, 31)] * 4)
    truth = {"one_shot_s": 4e-6, "eta_one_shot": 0.6, "ring_s": 1.2e-5, "eta_ring": 0.8}
    seconds = all_reduce_s(at["bytes"], 8, AllReduceLaw(LINK, **truth))
    assert_found(fit_all_reduce(rows(at, seconds, "latency_us", 1e-6), 8, LINK), truth)
    truth = {"t0_s": 1e-5, "eta_link": 0.7}
    seconds = exchange_s(at["bytes"], 8, ExchangeLaw(LINK, **truth))
    assert_found(fit_exchange(rows(at, seconds, "latency_us", 1e-6), 8, LINK), truth)


def test_memory_coefficients_are_found_again() -> None:
    at = grid(bytes=[float(2**power) for power in range(10, 31)] * 2)
    truth = {"eta_bandwidth": 0.8, "t0_s": 2e-6}
    seconds = memory_bound_s(at["bytes"], MemoryLaw(BANDWIDTH, **truth))
    assert_found(fit_memory(rows(at, seconds, "latency_us", 1e-6), BANDWIDTH), truth)


def test_too_few_rows_are_refused() -> None:
    at = grid(bytes=[1e3, 1e6])
    with pytest.raises(InvalidValue, match="more than 2 rows"):
        fit_memory(rows(at, at["bytes"] / 1e12, "latency_us", 1e-6), BANDWIDTH)


def test_a_time_of_zero_is_refused() -> None:
    at = grid(bytes=[1e3, 1e6, 1e9])
    with pytest.raises(InvalidValue, match="give times above 0"):
        fit_memory(rows(at, np.zeros(3), "latency_us", 1e-6), BANDWIDTH)


def test_missing_measurements_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"gemm\.csv cannot be read, it is not in"):
        read_published(tmp_path)
    (tmp_path / "gemm.csv").write_text("system,backend,dtype,m,n,k\n")
    with pytest.raises(TableError, match="holds no rows"):
        read_table(tmp_path, "gemm", GEMM)
    (tmp_path / "gemm.csv").write_text("system,backend,dtype,m,n,k\na,b,c,1,1,1\n")
    with pytest.raises(TableError, match="no column latency_ms"):
        read_table(tmp_path, "gemm", GEMM)


@pytest.fixture(scope="module")
def silicon() -> Path:
    folder = SHARED / "silicon"
    if not (folder / "gemm.csv").exists():
        pytest.skip("the measured tables are not here; set FITCALC_SHARED")
    return folder


def test_the_results_are_rebuilt_from_a_sample_of_the_measurements(
    silicon: Path, tmp_path: Path
) -> None:
    """A twelfth of the rows gives the shipped fractions within a tenth."""
    rebuild(silicon, tmp_path)
    assert len(list(tmp_path.glob("*.toml"))) == 11
    for name in ("h100_sxm", "b200_sxm", "l40s"):
        table = tomllib.loads((tmp_path / f"{name}.toml").read_text())
        fresh = parse_fitted(table, name)
        assert set(fresh) >= {"gemm", "moe", "glue", "all_reduce"}
        shipped = load_efficiency(load_gpu(name))
        for key in ("eta_flops", "eta_bandwidth"):
            value = getattr(shipped.gemm["bf16"].law, key)
            assert fresh["gemm"]["bf16"].values[key] == pytest.approx(value, rel=0.1)


@pytest.mark.parametrize(
    ("gpu", "system", "dtype", "weight"),
    [
        ("h100_sxm", "h100_sxm", "bfloat16", 2.0),
        ("h100_sxm", "h100_sxm", "fp8", 1.0),
        ("h200_sxm", "h200_sxm", "fp8", 1.0),
        ("b200_sxm", "b200_sxm", "bfloat16", 2.0),
        ("a100_sxm_80gb", "a100_sxm", "bfloat16", 2.0),
        ("l40s", "l40s", "bfloat16", 2.0),
    ],
)
def test_measured_gemms_are_reproduced(
    silicon: Path, gpu: str, system: str, dtype: str, weight: float
) -> None:
    table = read_table(silicon, "gemm", GEMM).equal("system", system).equal("dtype", dtype)
    table = table.starting("backend", "vllm")
    m, n, k = (table.number(c) for c in "mnk")
    predicted = gemm_s(m, n, k, weight, load_efficiency(load_gpu(gpu)).gemm[FORMATS[dtype].key].law)
    off = np.abs(np.asarray(predicted) / (table.number("latency_ms") * 1e-3) - 1)
    assert np.median(off) < 0.09
