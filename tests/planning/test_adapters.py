"""LoRA adapters on shared servers, beside the model alone and merged models."""

from __future__ import annotations

import json

import pytest

from fitcalc import EngineArgs, FitcalcError, Slo, Traffic, plan
from fitcalc.planning.feature import FeatureName
from fitcalc.report.feature_view import feature_lines
from tests.test_cli import answer

LOAD, SLO = Traffic(qps=20, isl=1000, osl=200), Slo()
LORA = EngineArgs(enable_lora=True, max_loras=8)


def test_adapters_are_costed_beside_the_model_alone() -> None:
    made = plan("llama-3.1-8b", LOAD, SLO, gpus=["h100"], engine=LORA)
    alone = plan("llama-3.1-8b", LOAD, SLO, gpus=["h100"])
    (found,) = made.features
    assert found.name is FeatureName.LORA
    assert made.best is not None
    assert alone.best is not None
    assert made.best.memory.lora_bytes > 0
    assert "--enable-lora --max-loras 8" in made.best.vllm_command
    assert found.having is not None
    assert found.without is not None
    assert found.without.usd_per_hour == alone.best.usd_per_hour
    assert found.having.itl_ms > found.without.itl_ms
    assert not found.recommended


def test_merged_models_have_servers_each() -> None:
    made = plan("llama-3.1-8b", LOAD, SLO, gpus=["h100"], engine=LORA, num_adapters=30)
    (found,) = made.features
    assert found.without is not None
    assert found.without.replicas % 30 == 0
    assert found.recommended
    assert "--max-cpu-loras 30" in found.flags
    assert "22 wait" in " ".join(feature_lines((found,)))


def test_merged_models_keep_the_limits() -> None:
    made = plan("llama-3.1-8b", LOAD, SLO, gpus=["h100"], engine=LORA, num_adapters=30, max_gpus=8)
    assert made.features[0].without is None
    assert made.features[0].recommended


def test_adapters_need_slots() -> None:
    with pytest.raises(FitcalcError, match="enable_lora"):
        plan("llama-3.1-8b", LOAD, SLO, gpus=["h100"], num_adapters=4)


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("plan", "--model", "8b", "--isl", "500", "--osl", "100", "--qps", "2", "--gpu", "h100")
    code, out, _ = answer(capsys, *words, "--num-adapters", "4", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["best"]["engine"]["max_loras"] == 4
    assert found["features"][0]["without"]["replicas"] == 4
    code, _, err = answer(capsys, *words, "--max-lora-rank", "32")
    assert (code, "max_loras or num_adapters" in err) == (2, True)
