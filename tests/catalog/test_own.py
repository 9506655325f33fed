"""A user's own calibration: it goes before the shipped tables, and mistakes in it are named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fitcalc.answers import Calibrated, Prediction
from fitcalc.catalog.efficiency import load_efficiency
from fitcalc.catalog.gpu import Vendor, gpu_figures, gpu_ids, load_gpu, load_gpus, resolve_gpu
from fitcalc.catalog.mig import load_device
from fitcalc.catalog.own import VARIABLE, calibration
from fitcalc.cli.main import run
from fitcalc.errors import FitcalcError, InvalidValue
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.predict import predict

GEMM = """
gpu = "h200_sxm"
source = "measured on this machine 2026-11-21, torch 2.13.0, driver 570"

[gemm]
coefficients = ["eta_flops", "eta_bandwidth", "t0_s", "rows_half", "passes", "depth_half", \
"tail", "depth_s", "unfilled"]
units = ["1", "1", "us", "rows", "1", "1", "1", "us", "1"]
bf16 = { value = [0.4, 0.42, 8.0, 1, 0.1, 100, 1e5, 1e-4, 0.1], \
standard_error = [0.01, nan, 0.1, 1, 0.1, 10, 1e4, 1e-5, 0.1], \
n = 200, residual = [0.9, 1.0, 1.1], engine = "torch-2.13.0", peak = "bf16" }
"""
GLUE = """
[glue]
coefficients = ["eta_bandwidth", "t0_s"]
units = ["1", "us"]
any = { value = [0.5, 9.0], standard_error = [0.01, 0.1], n = 50, residual = [0.9, 1.0, 1.1], \
engine = "torch-2.13.0" }
"""
CARD = """
name = "Toaster 9000"
vendor = "cpu"
architecture = "x86"
compute_capability = ""
link = "pcie4_x16"
pcie = "pcie4_x16"
memory = { value = 64, unit = "GiB", source = "own" }
memory_nominal = { value = 64, unit = "GiB", source = "own" }
memory_bandwidth = { value = 100, unit = "GB/s", source = "own" }
dense_bf16 = { value = 2, unit = "TFLOPS", source = "own" }
gpus_per_node = { value = 1, unit = "GPUs", source = "own" }

[sources.own]
kind = "measured"
title = "measured on this machine"
accessed = 2026-11-21
"""
Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    def one(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        monkeypatch.setenv(VARIABLE, str(tmp_path))
        return tmp_path

    return one


def tpot(gpu: str = "h200") -> Prediction:
    traffic = Traffic(qps=0.5, isl=1024, osl=128)
    found = predict("llama-3.1-8b", gpu, EngineArgs(), traffic)
    assert isinstance(found, Prediction)
    return found


def test_own_results_go_before_the_shipped_ones(write: Write) -> None:
    shipped = tpot()
    folder = write("results/h200_sxm.toml", GEMM)
    own = tpot()
    laws = load_efficiency(load_gpu("h200"))
    assert laws.gemm["bf16"].law.eta_bandwidth == 0.42
    assert laws.gemm["bf16"].calibrated is Calibrated.OWN
    assert laws.gemm["bf16"].origin.startswith("own")
    assert laws.gemm["fp8"].calibrated is Calibrated.MEASURED  # the shipped one stays
    # Weights are read at half the speed: 16 GB at 4.8 TB/s x 0.42 is 7.9 ms, not 3.9.
    assert own.tpot_ms.mean == pytest.approx(2 * shipped.tpot_ms.mean, rel=0.15)
    assert shipped.calibrated is Calibrated.MEASURED
    with calibration(None):
        assert tpot() == shipped
    with calibration(folder):
        assert tpot() == own


def test_the_command_line_takes_the_folder(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write("results/h200_sxm.toml", GEMM)
    own = tpot()
    monkeypatch.delenv(VARIABLE)
    words = "predict --model llama-3.1-8b --gpu h200 --qps 0.5 --isl 1024 --osl 128 --json"
    assert run([*words.split(), "--calibration", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["tpot_ms"] == own.tpot_ms.model_dump()
    assert run([*words.split(), "--calibration", str(folder / "nowhere")]) == 2
    assert "calibration" in capsys.readouterr().err


def test_a_step_is_called_own_only_when_all_its_kernels_are(write: Write) -> None:
    write("results/h200_sxm.toml", GEMM + GLUE)
    laws = load_efficiency(load_gpu("h200"))
    assert laws.glue.calibrated is Calibrated.OWN
    assert laws.attention_decode["bf16"].calibrated is Calibrated.MEASURED
    assert laws.calibrated is Calibrated.MEASURED
    assert tpot().calibrated is Calibrated.MEASURED


def test_a_slice_borrows_what_its_card_showed(write: Write) -> None:
    write("results/h200_sxm.toml", GEMM)
    law = load_efficiency(load_device("h200:3g.71gb")).gemm["bf16"]
    assert (law.law.eta_bandwidth, law.calibrated) == (0.42, Calibrated.TRANSFERRED)


def test_a_device_of_ones_own_is_planned_like_any(write: Write) -> None:
    before = gpu_ids()
    write("gpus/toaster.toml", CARD)
    assert gpu_ids() == (*before, "toaster")
    assert resolve_gpu("Toaster-9000") == "toaster"
    gpu = load_gpu("toaster")
    assert (gpu.vendor, gpu.memory_bandwidth) == (Vendor.CPU, 100e9)
    assert gpu_figures("toaster")[0][2] == "measured on this machine"
    assert load_efficiency(gpu).calibrated is Calibrated.DATASHEET
    write("results/toaster.toml", GEMM.replace("h200_sxm", "toaster"))
    assert len(load_gpus()) == len(before) + 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[gemm]", "[gem]", "unknown law 'gem'"),
        ('"passes"', '"passed"', "gemm.coefficients must be eta_flops"),
        ('"us"', '"parsec"', "unknown unit 'parsec'"),
        ("value = [0.4, ", "value = [", "gemm.bf16.value must be a list of 9 numbers"),
        ("value = [0.4, ", "value = [-0.4, ", "gemm.bf16.value holds -0.4"),
        ("value = [0.4, ", "value = [nan, ", "gemm.bf16.value holds nan"),
        ("n = 200, ", "", "gemm.bf16 has no n"),
        ("n = 200", "n = 0", "gemm.bf16.n must count"),
        ("n = 200", "n = 200, m = 1", "unknown cell 'm'"),
        ('source = "m', 'sauce = "m', "unknown law 'sauce'|has no source"),
        ("units = [", "units = ['1', ", "gemm.units must give one unit a coefficient"),
        ("[gemm]", "[gemm", "cannot be read"),
    ],
)
def test_a_mistake_in_a_file_is_one_sentence(write: Write, old: str, new: str, said: str) -> None:
    write("results/h200_sxm.toml", GEMM.replace(old, new))
    with pytest.raises(FitcalcError, match=said) as caught:
        load_efficiency(load_gpu("h200"))
    assert "h200_sxm.toml" in str(caught.value)
    assert str(caught.value).count(". ") == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "Toaster 9000"', "", "has no name"),
        ("value = 100", "value = -1", "memory_bandwidth above 0"),
        ("value = 2,", "value = nan,", "peaks above 0"),
        ('unit = "GB/s"', 'unit = "furlong"', "furlong"),
        ('source = "own" }\ngpus', 'source = "mine" }\ngpus', "cites 'mine'"),
        ("[sources.own]", "[sources]", "toaster"),
    ],
)
def test_a_mistake_in_a_device_is_one_sentence(write: Write, old: str, new: str, said: str) -> None:
    assert old in CARD
    write("gpus/toaster.toml", CARD.replace(old, new))
    with pytest.raises(FitcalcError, match=said):
        load_gpu("toaster")


def test_results_of_nobodys_gpu_are_refused(write: Write) -> None:
    write("results/toaster.toml", GEMM)
    with pytest.raises(FitcalcError, match=r"add gpus/toaster\.toml"):
        load_gpu("h200")


def test_a_folder_without_a_calibration_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        monkeypatch.setenv(VARIABLE, str(folder))
        with pytest.raises(InvalidValue, match="the folder that fitcalc calibrate wrote"):
            load_gpu("h200")
