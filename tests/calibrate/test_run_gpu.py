"""``calibration/run_gpu.sh`` against a stand-in of vLLM: what it keeps, and how it goes on."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fitcalc.calibrate.bench.served import write_runs
from fitcalc.calibrate.runs import read_runs
from fitcalc.errors import InvalidValue

SCRIPT = Path(__file__).parents[2] / "calibration" / "run_gpu.sh"
VLLM = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"vllm:num_requests_running 0.0\\n")

given = dict(zip(sys.argv, sys.argv[1:]))
if sys.argv[1] == "serve":
    assert json.loads((Path(sys.argv[2]) / "config.json").read_text())["hidden_size"] == 4096
    print("Available KV cache memory: 100.5 GiB", flush=True)
    HTTPServer(("127.0.0.1", int(given["--port"])), Pages).serve_forever()
if given.get("--request-rate") == "16":
    sys.exit("the server said no")
found = {"num_prompts": int(given["--num-prompts"]), "date": "20261121-101500",
         "mean_ttft_ms": 40.0, "mean_tpot_ms": 5.0}
(Path(given["--result-dir"]) / given["--result-filename"]).write_text(json.dumps(found))
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    package = tmp_path / "python" / "vllm" / "entrypoints" / "cli"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").write_text("")
    (package / "main.py").write_text(VLLM)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        **os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(tmp_path / "python"),
        "PORT": str(port), "CONFIGS": "llama-3.1-8b:fp8",
    }  # fmt: skip


def run(out: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = ["bash", str(SCRIPT), str(out), "serving"]
    return subprocess.run(
        words, env=environment, capture_output=True, text=True, check=True, timeout=60
    )


def test_every_load_is_kept_and_not_run_again(tmp_path: Path, environment: dict[str, str]) -> None:
    out = tmp_path / "h200-sxm"
    folder = out / "serving" / "llama-3.1-8b-fp8"
    said = run(out, environment)
    kept = sorted(path.stem for path in folder.glob("*.json"))
    assert len(kept) == 11
    assert "rate16 failed" in said.stderr
    assert json.loads((folder / "isl256-osl256-clients256.json").read_text())["num_prompts"] == 2560
    assert json.loads((folder / "isl1024-osl128-clients1.json").read_text())["num_prompts"] == 10
    assert "Available KV cache memory" in (folder / "startup.log").read_text()
    assert "num_requests_running" in (folder / "metrics-end.prom").read_text()
    commands = (folder / "command.txt").read_text()
    assert "vllm serve llama-3.1-8b --load-format dummy" in commands
    assert "--quantization fp8" in commands
    assert str(tmp_path) not in commands
    assert not (out / "serving" / "e2e_vllm.csv").exists()
    (out / "facts.toml").write_text('system = "h200_sxm"\n')
    again = run(out, environment)
    assert again.stdout == ""
    assert not (out / "server.pid").exists()
    runs = read_runs(out / "serving")
    assert len(runs) == 10
    assert {(r.gpu, r.precision, r.tpot_s) for r in runs} == {("h200_sxm", "fp8", 5e-3)}
    assert {run.traffic.num_requests for run in runs} == {10, 40, 160, 640, 2560}


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"no facts\.toml"):
        write_runs(tmp_path)
    (tmp_path / "facts.toml").write_text('system = "h200_sxm"\n')
    with pytest.raises(InvalidValue, match="no finished run"):
        write_runs(tmp_path)


def test_no_time_starts_no_server(tmp_path: Path, environment: dict[str, str]) -> None:
    said = run(tmp_path, environment | {"LIMIT_S": "0"})
    assert "time is up: call this again" in said.stderr
    assert not list(tmp_path.glob("serving/*/command.txt"))
