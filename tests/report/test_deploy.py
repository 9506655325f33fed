"""What is written to start a choice passes its reader's schema, and says what was planned."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

from fitcalc import Percentiles, Slo, Target, Traffic, manifests, plan
from fitcalc.catalog.gpu import gpu_ids
from fitcalc.catalog.tables import read_toml
from fitcalc.cli.main import run
from fitcalc.errors import InvalidValue
from fitcalc.planning.choice import Plan
from fitcalc.report.deploy.deployment import Deployment, dns_name
from tests.deployments import CASES, HOSTILE, LLAMA
from tests.samples import NOTHING
from tests.shell import command

EVERY = pytest.mark.parametrize("name", CASES)


def files(name: str, target: Target) -> dict[str, str]:
    """Write one target of one case."""
    return dict(manifests(CASES[name], [target]).files)


def documents(text: str) -> list[dict[str, Any]]:
    """Read a YAML file."""
    return list(yaml.safe_load_all(text))


# ---- each file is read by its reader


@EVERY
def test_kubernetes_takes_every_manifest(name: str) -> None:
    held = documents(files(name, Target.KUBERNETES)["kubernetes.yaml"])
    assert [d["kind"] for d in held] == [
        "PersistentVolumeClaim",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
    ]
    for document in held:
        kubernetes_validate.validate(document, "1.34", strict=True)


@EVERY
@pytest.mark.parametrize(("target", "file"), [("kserve", "kserve.yaml"), ("llm-d", "llm-d.yaml")])
def test_the_pods_inside_kserves_resources_are_pods(name: str, target: str, file: str) -> None:
    service = documents(files(name, Target(target))[file])[-1]
    spec = service["spec"].get("predictor") or service["spec"]["template"]
    pod = {key: spec[key] for key in ("containers", "volumes")}
    for container in pod["containers"]:
        container.setdefault("image", "x")
    wrapped = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
    kubernetes_validate.validate(wrapped, "1.34", strict=True)


@EVERY
def test_compose_takes_every_file(name: str) -> None:
    text = files(name, Target.COMPOSE)["compose.yaml"]
    spec = PyCompose.from_yaml(text).to_spec()
    assert spec.services is not None
    (service,) = documents(text)[0]["services"].values()
    if name != "amd":
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["count"] == Deployment(CASES[name].question, best(name)).gpus


def best(name: str) -> Any:
    """Return a case's choice."""
    return CASES[name].best


# ---- and says what was planned


@EVERY
def test_every_file_starts_the_planned_line(name: str) -> None:
    planned = shlex.split(best(name).vllm_command)
    assert command(files(name, Target.VLLM)["vllm.sh"]) == planned
    (container,) = documents(files(name, Target.KUBERNETES)["kubernetes.yaml"])[1]["spec"][
        "template"
    ]["spec"]["containers"]
    args = [word.replace("$$(", "$(") for word in container["args"]]
    assert container["command"] + args == planned
    (service,) = documents(files(name, Target.COMPOSE)["compose.yaml"])[0]["services"].values()
    words = [word.replace("$$", "$") for word in service["command"]]
    assert service["entrypoint"] + words == planned


def test_what_a_model_is_called_never_leaves_its_word() -> None:
    made = manifests(CASES["hostile"])
    assert HOSTILE in command(made.files["sglang.sh"])
    assert HOSTILE in command(made.files["bench.sh"])
    (task,) = documents(made.files["skypilot.yaml"])
    assert HOSTILE in command(task["run"])
    for text in made.files.values():
        assert "\n- x: 1\n#" not in text
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", dns_name(HOSTILE))


def test_servers_scale_from_the_plan_to_the_limit() -> None:
    asked = CASES["fp8"]
    held = documents(manifests(asked, [Target.KUBERNETES]).files["kubernetes.yaml"])
    assert held[1]["spec"]["replicas"] == 16
    scale = held[4]["spec"]
    assert (scale["minReplicas"], scale["maxReplicas"]) == (16, 20)  # 16 / (1 - 0.2)
    # Little's law: 1.25 requests a second may wait 2.0 - 0.64 s.
    assert scale["metrics"][0]["pods"]["target"]["averageValue"] == str(math.floor(1.25 * 1.36))
    limited = asked.model_copy(
        update={"question": asked.question.model_copy(update={"max_gpus": 72})}
    )
    held = documents(manifests(limited, [Target.KUBERNETES]).files["kubernetes.yaml"])
    assert held[4]["spec"]["maxReplicas"] == 18


def test_the_autoscalers_metric_is_the_one_the_adapter_offers() -> None:
    made = files("dense", Target.KUBERNETES)
    (rule,) = documents(made["prometheus-adapter.yaml"])[0]["rules"]["custom"]
    asked = documents(made["kubernetes.yaml"])[4]["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert rule["name"]["as"] == asked
    assert "vllm:num_requests_waiting" in rule["seriesQuery"]


def test_a_token_is_never_written() -> None:
    for text in manifests(CASES["dense"]).files.values():
        assert "hf_" not in text.replace("hf_id", "")
    made = files("dense", Target.KUBERNETES)["kubernetes.yaml"]
    (variable,) = documents(made)[1]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert "value" not in variable


def test_a_placeholder_is_called_one_in_every_file() -> None:
    for name, text in manifests(CASES["placeholder"]).files.items():
        assert name.endswith(".json") or f"PLACEHOLDER: {LLAMA}-awq_int4" in text
    assert "PLACEHOLDER" not in "".join(manifests(CASES["fp8"]).files.values())


def test_makers_differ_in_image_and_resource() -> None:
    made = manifests(CASES["amd"])
    assert set(made.left_out) == {"trtllm", "skypilot"}
    assert "amd.com/gpu" in made.files["kubernetes.yaml"]
    assert "vllm-openai-rocm:v0.33.0" in made.files["compose.yaml"]
    assert "/dev/kfd" in made.files["compose.yaml"]


# ---- other engines


def test_what_another_engine_has_not_is_said_with_a_reason() -> None:
    made = manifests(CASES["scheduled"])
    lost = {row.setting for row in made.unmapped["sglang"]}
    assert lost == {
        "long_prefill_token_threshold", "prefill_schedule_interval", "watermark",
        "performance_mode",
    }  # fmt: skip
    for engine in ("sglang", "trtllm"):
        for row in made.unmapped[engine]:
            assert row.reason in made.files[f"{engine}.sh"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fp8", "--tp-size 4 --quantization fp8 --kv-cache-dtype fp8_e4m3"),
        ("experts", "--tp-size 8 --dp-size 2 --enable-dp-attention --ep-size 8"),
        ("replicated", "--tp-size 1 --dp-size 4"),
        ("stages", "--tp-size 2 --pp-size 2"),
        ("stages", "--chunked-prefill-size -1"),
        ("adapters", "--enable-lora --max-loras-per-batch 5 --max-lora-rank 64"),
        ("drafts", "--speculative-eagle-topk 1 --speculative-num-draft-tokens 4"),
        ("offloaded", "--cpu-offload-gb 11 --enable-hierarchical-cache --hicache-size 43"),
        ("scheduled", "--max-running-requests 64"),
    ],
)  # fmt: skip
def test_sglang_is_told_in_its_own_words(name: str, words: str) -> None:
    assert words in " ".join(command(files(name, Target.SGLANG)["sglang.sh"]))


def test_tensorrt_llm_reads_the_rest_from_its_file() -> None:
    drafted = files("drafts", Target.TRTLLM)
    assert documents(drafted["trtllm.yaml"]) == [
        {"speculative_config": {"decoding_type": "MTP", "num_nextn_predict_layers": 3}}
    ]
    assert "--config trtllm.yaml" in " ".join(command(drafted["trtllm.sh"]))
    eager = documents(files("scheduled", Target.TRTLLM)["trtllm.yaml"])[0]
    assert eager["cuda_graph_config"] is None
    assert eager["kv_cache_config"] == {"tokens_per_block": 32, "enable_block_reuse": False}
    assert set(files("dense", Target.TRTLLM)) == {"trtllm.sh"}


def test_shares_of_memory_are_the_ledgers() -> None:
    words = command(files("dense", Target.SGLANG)["sglang.sh"])
    assert words[words.index("--mem-fraction-static") + 1] == "0.887"  # (18 + 53) / 80 GB
    words = command(files("dense", Target.TRTLLM)["trtllm.sh"])
    assert words[words.index("--kv_cache_free_gpu_memory_fraction") + 1] == "0.898"  # 53 / 59 GB


def test_every_setting_says_something_of_both_engines_with_a_source() -> None:
    table = read_toml("engines_db", "settings.toml")
    assert {"sglang", "trtllm"} <= set(table["sources"])  # type: ignore[call-overload]
    for name, row in table.items():
        if name == "sources":
            continue
        assert isinstance(row, dict)
        assert set(row) == {"sglang", "trtllm"}, name
        for said in row.values():
            assert set(said) <= {"flags", "config", "values", "note", "missing"}, name
    accelerators: Any = read_toml("engines_db", "targets.toml")["skypilot"]
    assert set(accelerators["accelerators"]) <= set(gpu_ids())


# ---- the test of the claim


def test_a_benchmark_asks_one_server_its_share() -> None:
    made = files("fp8", Target.BENCH)
    words = command(made["bench.sh"])
    asked = dict(pairwise(words))
    assert float(asked["--request-rate"]) == 20 / 16
    assert asked["--num-prompts"] == "1000"  # 50 beyond p95
    expected = json.loads(made["expected.json"])
    assert expected["p95_ttft_ms"]["expected"] == 1420.0
    assert expected["mean_ttft_ms"] == {"expected": 640.0, "low": 560.0, "high": 760.0}
    assert expected["p99_tpot_ms"]["low"] == pytest.approx(39 * 28 / 31, abs=0.01)
    assert "low" not in expected["mean_e2el_ms"]


def test_answers_of_one_token_have_no_gaps_to_expect() -> None:
    none = Percentiles(mean=0, p50=0, p90=0, p95=0, p99=0)
    asked = CASES["dense"]
    assert asked.best is not None
    found = asked.best.prediction.model_copy(update={"itl_ms": none, "tpot_ms": none})
    best = asked.best.model_copy(update={"prediction": found})
    made = manifests(asked, [Target.BENCH], choice=best).files["expected.json"]
    assert {name.split("_")[1] for name in json.loads(made)} == {"ttft", "e2el"}


def test_a_benchmark_spreads_lengths_and_shares_prefixes_as_planned() -> None:
    clients = " ".join(command(files("clients", Target.BENCH)["bench.sh"]))
    assert "--max-concurrency 7 --request-rate inf" in clients  # 100 clients on 16 servers
    assert '--random-range-ratio {"input": 0.5, "output": 0.0}' in clients
    prefix = " ".join(command(files("prefix", Target.BENCH)["bench.sh"]))
    assert "--random-input-len 500 --random-output-len 200 --random-prefix-len 1500" in prefix


# ---- from a question to files


def test_a_plan_of_the_planner_is_written_whole() -> None:
    answer = plan(
        "llama-3.1-8b", Traffic(qps=2, isl=1000, osl=200), Slo(), gpus=["h100"], verify=True
    )
    made = manifests(answer)
    assert made.left_out == {}
    assert "# simulated p95 ttft" in made.files["bench.sh"]
    assert Target.BENCH not in manifests(answer, ["vllm"]).files
    assert answer.best is not None
    assert shlex.split(answer.best.vllm_command)[2] == answer.question.hf_id


def test_what_cannot_be_written_is_a_sentence() -> None:
    with pytest.raises(InvalidValue, match="use one of vllm"):
        manifests(CASES["dense"], ["helm"])
    with pytest.raises(InvalidValue, match="NVIDIA"):
        manifests(CASES["amd"], ["trtllm"])
    with pytest.raises(InvalidValue, match="relax"):
        manifests(NOTHING)
    wide = CASES["fp8"]
    assert wide.best is not None
    engine = wide.best.engine.replace(tensor_parallel_size=8, pipeline_parallel_size=2)
    two = wide.model_copy(update={"best": wide.best.model_copy(update={"engine": engine})})
    assert "spans nodes" in manifests(two).left_out["k8s"]


# ---- the command


def saved(tmp_path: Path, asked: Plan) -> str:
    """Save a plan as the command line does."""
    path = tmp_path / "plan.json"
    path.write_text(asked.model_dump_json(), encoding="utf-8")
    return str(path)


def test_the_command_writes_files_that_can_run(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    path = saved(tmp_path, CASES["fp8"])
    assert run(["deploy", path, "--as", "k8s", "--as", "vllm", "--out", str(out)]) == 0
    assert {p.name for p in out.iterdir()} == {
        "kubernetes.yaml",
        "prometheus-adapter.yaml",
        "vllm.sh",
    }
    assert (out / "vllm.sh").stat().st_mode & 0o100


def test_the_command_prints_one_file_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, CASES["fp8"])
    assert run(["deploy", path, "--as", "compose"]) == 0
    said = capsys.readouterr()
    assert said.out == manifests(CASES["fp8"], ["compose"]).files["compose.yaml"]
    assert run(["deploy", path, "--json", "--choice", "1"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"files", "unmapped", "left_out"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"question": 1, "best": 2, "alternatives": 3}'])
def test_a_file_that_is_no_plan_is_a_sentence(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text, encoding="utf-8")
    assert run(["deploy", str(path)]) == 2
    said = capsys.readouterr().err
    assert "fitcalc plan --json" in said
    assert len(said.splitlines()) == 1


def test_bad_words_of_the_command_are_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, CASES["fp8"])
    for words in (["--as", "helm"], ["--choice", "9"], ["--out", "/dev/null/x"]):
        assert run(["deploy", path, *words]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert run(["deploy", str(tmp_path / "none.json")]) == 2
    assert run(["deploy", saved(tmp_path, NOTHING)]) == 1


def test_without_pyyaml_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert manifests(CASES["dense"], ["vllm", "bench"]).files
    with pytest.raises(InvalidValue, match=r"fitcalc\[deploy\]"):
        manifests(CASES["dense"], ["k8s"])
