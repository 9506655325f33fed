"""Whole steps beside their kernels: an interval that did not see the step it judges."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcalc.calibrate.device_fit import fit_device
from fitcalc.calibrate.device_report import report
from fitcalc.calibrate.stack_check import Shape, Step, checked, predicted_parts
from fitcalc.catalog.gpu import load_gpu
from fitcalc.catalog.own import calibration
from fitcalc.cli.main import run
from tests.calibrate.synthetic import device_folder

H200 = load_gpu("h200")
SHAPE = Shape(4, 4096, 14336, 128256, 32, 8, 128)
FACTORS = [1.0, 1.02, 0.98, 1.01, 0.99, 1.5]
COLUMNS = (
    "system,backend,dtype,kv_dtype,phase,num_hidden_layers,hidden_size,intermediate_size,"
    "vocab_size,num_heads,kv_heads,head_dim,batch_size,ctx,latency_us"
)


def step(measured: float) -> Step:
    return Step("decode", 1, 128, measured=measured, predicted=1.0, low=0.95, high=1.05)


@pytest.mark.parametrize(("measured", "inside"), [(1.2, True), (1.12, False), (1.3, False)])
def test_other_steps_show_what_lies_beside_kernels(measured: float, *, inside: bool) -> None:
    found = checked(step(measured), [step(1.2), step(1.2), step(1.2)])
    assert found.inside is inside
    assert found.interval_ms == pytest.approx((1140.0, 1260.0))
    assert found.predicted_ms == pytest.approx(1000.0)


def test_a_step_alone_has_the_interval_of_its_kernels() -> None:
    assert checked(step(1.0), []).interval_ms == pytest.approx((950.0, 1050.0))


def test_a_step_is_the_bytes_it_reads() -> None:
    """One sequence at a short context reads 1.9 GB of weights in bf16, at 4.8 TB/s at best."""
    parts = predicted_parts(H200, SHAPE, "decode", 1, 128)
    layer = 4096 * (4096 + 2 * 1024 + 4096) + 3 * 4096 * 14336
    floor = 2.0 * (4 * layer + 128256 * 4096) / 4.8e12
    assert floor < parts["gemm"] + parts["lm_head"] < 1.5 * floor
    prompt = predicted_parts(H200, SHAPE, "prefill", 1, 8192)
    flops = 2.0 * 8192 * 4 * layer
    assert flops / 989e12 < prompt["gemm"] < 2 * flops / 989e12
    assert prompt["attention_decode"] == 0.0


def test_steps_of_a_folder_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = device_folder(tmp_path, H200, "h200_sxm")
    fit_device(folder)
    lines = [COLUMNS]
    with calibration(folder):
        for batch, factor in zip((1, 2, 4, 8, 16, 64), FACTORS, strict=True):
            parts = predicted_parts(load_gpu("h200"), SHAPE, "decode", batch, 2048)
            us = 1e6 * factor * sum(parts.values())
            shape = "4,4096,14336,128256,32,8,128"
            row = f"h200_sxm,torch-2,bfloat16,bfloat16,decode,{shape},{batch},2048,{us:.4f}"
            lines.append(row)
    (folder / "stack.csv").write_text("\n".join(lines) + "\n")
    shown = report(fit_device(folder), folder)
    found = [s.measured_ms / s.predicted_ms for s in shown.steps]
    assert found == pytest.approx(FACTORS, rel=1e-3)
    inside = [s.inside for s in shown.steps]
    assert inside[0]
    assert not inside[-1]
    assert run(["calibrate", "--fit", str(folder)]) == 0
    assert f"{sum(inside)} of 6 steps within the interval" in " ".join(
        capsys.readouterr().out.split()
    )
