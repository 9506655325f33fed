"""One's own device: what made a folder's rows is found again and takes effect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fitcalc.answers import Calibrated, Prediction
from fitcalc.calibrate.device_fit import DeviceFit, fit_device
from fitcalc.calibrate.device_report import report
from fitcalc.catalog.efficiency import load_efficiency
from fitcalc.catalog.gpu import Vendor, load_gpu
from fitcalc.catalog.own import calibration
from fitcalc.cli.main import run
from fitcalc.errors import FitcalcError, InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.predict import predict
from tests.calibrate.synthetic import NOISE, TRUTH, device_folder, facts

H200 = load_gpu("h200")
NEW: dict[str, str | int] = {
    "system": "new_gpu", "name": "Some New GPU", "kind": "cuda", "memory_bytes": 96 * 2**30,
    "compute_capability": "9.0", "gpus": 2, "torch": "2.13.0", "driver": "570.86",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return device_folder(tmp_path, H200, "h200_sxm")


def assert_found(found: DeviceFit) -> None:
    laws = {result.law: result.fit for result in found.results}
    assert set(laws) == set(TRUTH)
    for law, truth in TRUTH.items():
        fit = laws[law]
        for name, value in truth.items():
            error = fit.standard_errors[name]
            assert abs(fit.values[name] - value) < 3 * error, f"{law} {name}"
        assert fit.error == pytest.approx(0.6745 * NOISE, rel=0.5)  # median of |normal|


def test_the_coefficients_behind_the_rows_are_found_again(folder: Path) -> None:
    found = fit_device(folder)
    assert_found(found)
    assert found.known
    assert found.files == (folder / "results" / "h200_sxm.toml",)
    text = found.files[0].read_text()
    assert 'source = "measured on this machine 2026-11-21"' in text
    assert 'engine = "torch-2.13.0"' in text


def test_what_was_written_is_what_is_planned_with(folder: Path) -> None:
    fit_device(folder)
    traffic, engine = Traffic(qps=1.0, isl=2048, osl=128), EngineArgs()
    shipped = predict("llama-3.1-8b", "h200", engine, traffic)
    with calibration(folder):
        own = predict("llama-3.1-8b", "h200", engine, traffic)
        laws = load_efficiency(load_gpu("h200"))
    assert isinstance(shipped, Prediction)
    assert isinstance(own, Prediction)
    assert (shipped.calibrated, own.calibrated) == (Calibrated.MEASURED, Calibrated.OWN)
    assert laws.gemm["bf16"].law.eta_bandwidth == pytest.approx(0.75, rel=0.02)
    # Few tokens a step: time goes as the bytes over the bandwidth reached, 0.85 before, 0.75 now,
    # beside launches that take longer too.
    assert 0.85 / 0.75 < own.tpot_ms.mean / shipped.tpot_ms.mean < 1.4


def test_an_unknown_card_is_kept_as_measured(tmp_path: Path) -> None:
    folder = device_folder(tmp_path, H200, "new_gpu")
    facts(folder, **NEW, pcie_generation_max=5, pcie_width_max=16)
    found = fit_device(folder)
    assert not found.known
    with calibration(folder):
        gpu = load_gpu("Some New GPU")
        laws = load_efficiency(gpu)
    assert gpu.memory_bandwidth == pytest.approx(0.9 * H200.memory_bandwidth, rel=0.1)
    # A large product reaches 0.6 of the peak, less its padding and its passes.
    assert gpu.peak_flops["bf16"] == pytest.approx(0.6 * H200.peak_flops["bf16"], rel=0.1)
    assert gpu.pcie_bandwidth == 63e9
    assert gpu.memory_bytes == 96 * 2**30
    assert gpu.estimates == ()
    assert laws.calibrated is Calibrated.OWN
    # The same kernels whatever the peaks are called: so many seconds for so many bytes.
    rate = laws.gemm["bf16"].law.eta_bandwidth * gpu.memory_bandwidth
    assert rate == pytest.approx(0.75 * H200.memory_bandwidth, rel=0.05)


def test_a_card_that_names_no_link_says_that_it_is_guessed(tmp_path: Path) -> None:
    folder = device_folder(tmp_path, H200, "new_gpu")
    facts(folder, **NEW)
    assert fit_device(folder).gpu.estimates == ("link_bandwidth",)
    facts(folder, **NEW, nvlinks=4, nvlink_version=4)
    assert fit_device(folder).gpu.link.bandwidth == 450e9


def test_a_cpu_is_a_device_too(tmp_path: Path) -> None:
    folder = device_folder(tmp_path, H200, "cpu")
    facts(folder, system="cpu", name="Some CPU", kind="cpu", memory_bytes=2**34)
    found = fit_device(folder)
    with calibration(folder):
        assert load_gpu("cpu").vendor is Vendor.CPU
    shown = report(found, folder)
    assert shown.plan is None
    assert {law.shipped_from.split()[0] for law in shown.laws} == {"default"}


def test_half_of_a_folder_is_fitted_and_the_rest_named(folder: Path) -> None:
    for name in ("attn_decode", "attn_prefill", "elementwise", "bandwidth"):
        (folder / f"{name}.csv").unlink()
    lines = (folder / "gemm.csv").read_text().splitlines(keepends=True)
    (folder / "gemm.csv").write_text("".join(lines[:2] + lines[2::2]))
    found = fit_device(folder)
    (gemm,) = found.results
    assert gemm.law == "gemm"
    assert gemm.fit.values["eta_bandwidth"] == pytest.approx(0.75, rel=0.05)
    assert "attn_decode.csv was not measured" in found.missing
    assert "borrowed as before: attention_decode, attention_prefill" in found.missing[-1]
    with calibration(folder):
        laws = load_efficiency(load_gpu("h200"))
    assert laws.gemm["bf16"].calibrated is Calibrated.OWN
    assert laws.calibrated is Calibrated.MEASURED


def test_a_law_with_too_few_rows_is_borrowed(folder: Path) -> None:
    lines = (folder / "attn_decode.csv").read_text().splitlines(keepends=True)
    (folder / "attn_decode.csv").write_text("".join(lines[:5]))
    (folder / "elementwise.csv").write_text("system,backend,bytes,latency_us\n")
    found = fit_device(folder)
    assert {result.law for result in found.results} == {"gemm", "attention_prefill"}
    assert "attention_decode bfloat16: 3 rows are too few for 3 coefficients" in found.missing
    assert "elementwise.csv was not measured" in found.missing


def test_the_report_sets_the_fit_beside_datasheet_and_shipped(folder: Path) -> None:
    shown = report(fit_device(folder), folder)
    reached = {row.figure: row for row in shown.reached}
    assert reached["memory bandwidth"].share == pytest.approx(0.9, rel=0.1)
    assert reached["bf16 GEMM"].share == pytest.approx(0.6, rel=0.05)
    assert reached["floor of gemm bf16"].measured == pytest.approx(6.0, rel=0.15)
    laws = {law.law: law for law in shown.laws}
    assert laws["gemm"].shipped_from.startswith("h200_sxm")
    assert laws["gemm"].shipped["eta_bandwidth"] > laws["gemm"].values["eta_bandwidth"]
    assert shown.plan is not None
    before, after = shown.plan.shipped, shown.plan.own
    assert (before.calibrated, after.calibrated) == ("measured", "measured (own)")
    assert before.itl_p99_ms is not None
    assert after.itl_p99_ms is not None
    assert before.itl_p99_ms < after.itl_p99_ms


def test_the_command_fits_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["calibrate", "--fit", str(folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["gpu"] == "h200_sxm"
    assert run(["calibrate", "--fit", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "Measured beside the datasheet" in text
    assert f"FITCALC_CALIBRATION={folder}" in "".join(text.split("\n"))
    assert run(["calibrate", "--fit", str(folder), "--out", str(folder)]) == 2
    assert "stands alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("gemm", "latency_ms", "seconds", "no column latency_ms"),
        ("gemm", "torch-2.13.0,bfloat16,1,", "torch-2.13.0,bfloat16,one,", "m of row 1 is 'one'"),
        ("gemm", "h200_sxm", "h300", "of several devices"),
        ("facts", "new", "old", "system is 'old_gpu', and the rows say 'new_gpu'"),
        ("facts", "memory_bytes = 1", "memory_bytes = -1", "give whole bytes"),
        ("facts", "name", "title", "has no name"),
        ("facts", "=", "", "it is not TOML"),
    ],
)
def test_a_broken_folder_is_one_sentence(
    tmp_path: Path, file: str, old: str, new: str, said: str
) -> None:
    folder = device_folder(tmp_path, H200, "h200_sxm" if file == "gemm" else "new_gpu")
    if file == "facts":
        facts(folder, **NEW)
    path = next(folder.glob(f"{file}.*"))
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(FitcalcError, match=said):
        fit_device(folder)


def test_a_card_without_facts_or_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"it holds gemm\.csv"):
        fit_device(tmp_path)
    folder = device_folder(tmp_path, H200, "new_gpu")
    with pytest.raises(FitcalcError, match="says which device new_gpu is"):
        fit_device(folder)
    facts(folder, **NEW)
    (folder / "gemm.csv").unlink()
    with pytest.raises(FitcalcError, match="needs bfloat16 rows"):
        fit_device(folder)
