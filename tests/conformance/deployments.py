"""Let those who read a deployment read every one of tests/deployments.py.

    python -m tests.conformance.deployments ENVIRONMENT

The parsers of vLLM and SGLang take the lines, SkyPilot's schema the task, and KServe's model the
keys of an InferenceService. A flag that does not exist must be refused, or nothing was tested.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest.mock import MagicMock

import jsonschema
import yaml

from fitcalc import Target, manifests
from tests.conformance.compare import surroundings
from tests.deployments import CASES
from tests.shell import command

HERE = Path(__file__).parent
WORDS = {"vllm": 2, "bench": 3, "sglang": 3}
"""Words of each line before its arguments."""
WRONG = ["--no-such-flag", "1"]
SKY_READ = ("sky.utils", "sky.skylet", "sky.utils.schemas", "sky.skylet.constants")
SKY_VERSION = "0.14.1"

Line = tuple[str, list[str]]


def lines() -> Iterator[Line]:
    """Every line, without the program's name."""
    for plan in CASES.values():
        made = manifests(plan, ["vllm", "bench", "sglang"]).files
        for name, before in WORDS.items():
            yield name, command(made[f"{name}.sh"])[before:]


def complaints(environment: Path, rows: list[Line]) -> list[str]:
    """Ask the engines' own parsers."""
    found = surroundings(environment)
    found["PYTHONPATH"] += f":{environment}/readers"
    done = subprocess.run(
        [environment / "venv/bin/python", HERE / "parsers.py"],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | found,
    )
    if done.returncode:
        raise SystemExit(f"the parsers failed:\n{done.stderr[-3000:]}")
    said: list[str] = json.loads(done.stdout[done.stdout.rindex('["') :])
    return said


class _Absent(MetaPathFinder, Loader):
    """Answers for what SkyPilot's schemas import and do not need."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        del path, target
        absent = name.startswith("sky.") and name not in SKY_READ
        return ModuleSpec(name, self, is_package=True) if absent else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module: types.ModuleType = MagicMock(name=spec.name, __path__=[], __spec__=spec)
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def sky_schemas(readers: Path) -> dict[str, Mapping[str, object]]:
    """Return SkyPilot's schemas of a task and of its parts."""
    for name in ("sky", "sky.utils", "sky.skylet"):
        module = types.ModuleType(name)
        module.__path__ = [str(readers / name.replace(".", "/"))]
        sys.modules[name] = module
    sys.modules["sky"].__dict__["__version__"] = SKY_VERSION
    sys.meta_path.insert(0, _Absent())
    schemas = importlib.import_module("sky.utils.schemas")
    return {
        "": schemas.get_task_schema(),
        "service": schemas.get_service_schema(),
        "resources": schemas.get_resources_schema(),
    }


def kserve_keys(readers: Path, model: str) -> set[str]:
    """Return the keys of one of KServe's models, as its client library writes them."""
    tree = ast.parse((readers / f"kserve/models/{model}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "attribute_map":
            return set(ast.literal_eval(node.value).values())
    raise SystemExit(f"KServe's {model} has no attribute_map")


def wrong_manifests(readers: Path) -> Iterator[str]:
    """Yield what SkyPilot and KServe say against a manifest."""
    schemas = sky_schemas(readers)
    kept = kserve_keys(readers, "v1beta1_predictor_spec")
    spec = kserve_keys(readers, "v1beta1_inference_service_spec")
    for name, plan in CASES.items():
        made = manifests(plan)
        if Target.SKYPILOT not in made.left_out:
            task = yaml.safe_load(made.files["skypilot.yaml"])
            for part, schema in schemas.items():
                check = jsonschema.Draft202012Validator(schema)
                yield from (
                    f"{name}: SkyPilot {part}: {error.message}"
                    for error in check.iter_errors(task[part] if part else task)
                )
        service = list(yaml.safe_load_all(made.files["kserve.yaml"]))[-1]
        unknown = {*service["spec"]} - spec | {*service["spec"]["predictor"]} - kept
        yield from (f"{name}: KServe has no {key}" for key in sorted(unknown))


def main() -> None:
    """Read everything; fail on any complaint."""
    environment = Path(sys.argv[1]).resolve()
    rows = list(lines())
    probes = [(name, [*rows[i][1], *WRONG]) for i, name in enumerate(WORDS)]
    said = complaints(environment, [*rows, *probes])
    wrong = [f"{row}: {text}" for row, text in zip(rows, said, strict=False) if text]
    missed = [
        f"{row} was taken" for row, text in zip(probes, said[len(rows) :], strict=True) if not text
    ]
    wrong += missed + list(wrong_manifests(environment / "readers"))
    sys.stdout.write(
        f"lines taken by vLLM's and SGLang's parsers: {len(rows)}; wrong: {len(wrong)}\n"
    )
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
