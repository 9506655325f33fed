"""``fitcalc fit`` on the command line: questions, slices, shared cards, checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fitcalc.cli.main import run
from fitcalc.units import GIB

WHERE = ("fit", "--model", "llama-3.1-8b", "--gpu", "h100")


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run one command line in this process."""
    code = run(words)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_context_is_answered_and_is_the_length(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, *WHERE, "--ctx", "8k", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["max_model_len"] == 8192
    assert found["answers"]["at_context"]["concurrency"] == pytest.approx(found["max_concurrency"])


def test_too_few_at_once_is_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, *WHERE, "--ctx", "8k", "--concurrency", "10")
    assert code == 0
    assert "Enough for 10." in out
    code, out, _ = answer(capsys, *WHERE, "--ctx", "8k", "--concurrency", "1000")
    assert code == 1
    assert "Too few for 1,000." in out
    assert "What one setting changes" in out


def test_what_if_says_what_each_setting_frees(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, *WHERE, "--what-if", "--json")
    found = json.loads(out)["answers"]
    assert code == 0
    assert {"least_gpus", "formats", "what_frees"} <= set(found)
    settings = {row["setting"] for row in found["what_frees"]}
    assert {"kv_cache_dtype", "max_num_seqs", "enforce_eager", "cpu_offload_gb"} <= settings


def test_what_does_not_fit_comes_with_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "fit", "--model", "70b", "--gpu", "h100", "--ctx", "8k")
    assert code == 1
    assert "The least that holds it: 2 GPUs of this type (TP2)" in out
    assert "Weight formats on this GPU" in out


def test_without_a_gpu_the_gpus_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "fit", "--model", "70b", "--ctx", "8k", "--json")
    rows = {row["gpu"]: row for row in json.loads(out)["gpus"]}
    assert code == 0
    assert rows["h100_sxm"]["gpu_count"] == 2
    assert rows["mi300x"]["gpu_count"] == 1
    _, text, _ = answer(capsys, "fit", "--model", "70b", "--ctx", "8k")
    assert "NVIDIA H100 SXM 80GB" in text


def test_without_a_model_the_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "fit", "--gpu", "4090", "--ctx", "4k", "--json")
    assert code == 0
    assert "gpt-oss-20b" in {row["model"] for row in json.loads(out)["models"]}
    _, text, _ = answer(capsys, "fit", "--gpu", "4090", "--ctx", "4k")
    assert "smaller ones fit too." in text


def test_a_slice_and_a_shared_card(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("--gpu", "h100:3g.40gb"), ("--gpu", "h100", "--mig", "3g.40gb")):
        model = ("fit", "--model", "llama-3.1-8b", "--ctx", "8k", "--reserved", "1GiB")
        code, out, _ = answer(capsys, *model, *words, "--json")
        found = json.loads(out)
        assert code == 0
        assert found["gpu_memory_bytes"] == 39.5 * GIB
        assert found["reserved_bytes"] == GIB


def test_a_checkpoint_gives_the_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    names = {f"model.layers.{i}.mlp.up_proj.weight": "1.safetensors" for i in range(32)}
    index.write_text(json.dumps({"metadata": {"total_size": 16060522496}, "weight_map": names}))
    code, out, _ = answer(capsys, *WHERE, "--index", str(index), "--json")
    assert code == 0
    assert json.loads(out)["weights_bytes"] == 16060522496
    assert any("total_size" in note for note in json.loads(out)["notes"])


WRONG = (
    ("fit",),
    ("fit", "--mig", "3g.40gb", "--model", "70b"),
    ("fit", "--gpu", "h100", "--what-if"),
    ("fit", "--gpu", "h100", "--index", "x"),
    (*WHERE, "--mig", "9g.90gb"),
    (*WHERE, "--reserved", "much"),
    (*WHERE, "--ctx", "0"),
    (*WHERE, "--index", "/nowhere/model.safetensors"),
    (*WHERE, "--max-lora-rank", "7"),
    (*WHERE, "--vllm-version", "0.5.4"),
)


@pytest.mark.parametrize("words", WRONG)
def test_wrong_questions_end_in_one_sentence(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, out, err = answer(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.rstrip().endswith((".", "?"))
