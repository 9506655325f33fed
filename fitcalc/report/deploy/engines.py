"""The line that starts a server: vLLM's as planned, SGLang's and TensorRT-LLM's near it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fitcalc.report.deploy.deployment import PORT, Deployment
from fitcalc.report.deploy.settings import Mapped, mapped
from fitcalc.report.deploy.text import script_text, shell_text, yaml_text

_OTHER = "Predictions are for vLLM: measure this engine before you rely on them."


def vllm_files(deployment: Deployment) -> Mapping[str, str]:
    """Write vLLM's line."""
    line = shell_text(deployment.words, start=3)
    return {"vllm.sh": script_text(deployment.header(), f"exec {line}")}


def sglang_files(deployment: Deployment) -> Mapping[str, str]:
    """Write SGLang's line, and what it cannot say."""
    said = mapped(deployment, "sglang")
    place = ["--model-path", deployment.model, "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104
    words = ["python3", "-m", "sglang.launch_server", *place, *said.flags]
    line = shell_text([*words, "--enable-metrics"], start=3)
    return {"sglang.sh": script_text(deployment.header(_OTHER, *_said(said)), f"exec {line}")}


def trtllm_files(deployment: Deployment) -> Mapping[str, str]:
    """Write TensorRT-LLM's line, the file it reads, and what it cannot say."""
    said = mapped(deployment, "trtllm")
    place = ["--host", "0.0.0.0", "--port", str(PORT), "--backend", "pytorch"]  # noqa: S104
    words = ["trtllm-serve", deployment.model, *place, *said.flags]
    files = {}
    if said.config:
        words += ["--config", "trtllm.yaml"]
        files["trtllm.yaml"] = yaml_text(deployment.header("Read by trtllm.sh."), said.config)
    line = shell_text(words, start=2)
    header = deployment.header(_OTHER, *_said(said))
    return {"trtllm.sh": script_text(header, f"exec {line}"), **files}


def _said(said: Mapped) -> Iterator[str]:
    """Yield where the meaning differs, and what has no equivalent."""
    yield from (f"Differs: {note}" for note in said.notes)
    for row in said.unmapped:
        yield f"NOT MAPPED: {row.setting} = {row.value}: {row.reason}"
