"""Compare fitcalc's KV layout with vLLM's own, block for block, over every model of models_db.

    python -m tests.conformance.compare ENVIRONMENT REPORT

ENVIRONMENT is the folder that install.sh made; REPORT the Markdown file to write.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fitcalc.catalog.formats import load_kv_format
from fitcalc.catalog.gpu import load_gpu
from fitcalc.catalog.model import load_model
from fitcalc.inputs.engine import resolve
from fitcalc.physics.kv_cache import (
    kv_layout,
    kv_tokens,
    longest_len,
    max_concurrency,
    needed_bytes,
    num_blocks,
)
from fitcalc.physics.kv_layers import has_state
from tests.conformance.cases import (
    Build,
    Case,
    architecture,
    builds,
    model_types,
    question,
)

HERE = Path(__file__).parent
WORKERS = min(2, os.cpu_count() or 1)
SHOWN = 40
REFUSALS = re.compile(
    r"divisible|does not divide|modulo by zero|was supported in vLLM until"
    r"|Decode context parallelism|DCP (for|not)|KV sharing target layer"
    r"|No valid attention backend|(KV cache is|does) not support|^AssertionError: $"
)
"""What vLLM says where it does not serve a model, a split over ranks or a format on a card."""

Answer = dict[str, Any]


@dataclass
class Tally:
    """What came of one architecture's builds."""

    models: set[str] = field(default_factory=set)
    builds: int = 0
    refused: int = 0
    cases: int = 0
    equal: int = 0


def surroundings(environment: Path) -> dict[str, str]:
    """Return the variables under which the environment's Python finds vLLM."""
    return {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPATH": f"{environment}/metadata:{environment}/vllm",
        "TINY_MODEL": f"{environment}/model",
        "VLLM_CACHE_ROOT": f"{environment}/cache",
        "VLLM_LOGGING_LEVEL": "CRITICAL",
        "VLLM_NO_USAGE_STATS": "1",
    }


def ask(environment: Path, gpu: str, questions: Sequence[Answer]) -> list[Answer]:
    """Run kv_oracle.py on some builds for one GPU."""
    card = load_gpu(gpu)
    described = {
        "capability": card.compute_capability,
        "name": card.name,
        "memory_bytes": int(card.memory_bytes),
    }
    done = subprocess.run(
        [environment / "venv/bin/python", HERE / "kv_oracle.py"],
        input=json.dumps({"gpu": described, "builds": questions}),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | surroundings(environment),
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(questions):
        raise SystemExit(f"vLLM's planner stopped early:\n{done.stderr[-3000:]}")
    return answers


def ask_all(environment: Path, asked: Sequence[Build]) -> dict[Build, Answer]:
    """Ask for every build, in a process for each GPU type; the largest lot one for each core."""
    types = model_types()
    (most, _), *others = Counter(b.gpu for b in asked).most_common()
    lots = [(most, [b for b in asked if b.gpu == most][i::WORKERS]) for i in range(WORKERS)]
    lots += [(gpu, [b for b in asked if b.gpu == gpu]) for gpu, _ in others]

    def run(lot: tuple[str, list[Build]]) -> list[Answer]:
        return ask(environment, lot[0], [question(b, types) for b in lot[1]])

    with ThreadPoolExecutor(WORKERS) as pool:
        said = list(pool.map(run, lots))
    return {
        build: answer
        for (_, lot), answers in zip(lots, said, strict=True)
        for build, answer in zip(lot, answers, strict=True)
    }


def ours(build: Build, case: Case) -> Answer:
    """Answer one case with fitcalc, in the words of kv_oracle.py."""
    kv_bytes, longest, budget = case
    model, card, kv = load_model(build.model), load_gpu(build.gpu), load_kv_format(build.kv)
    engine = resolve(
        build.engine.replace(
            max_model_len=longest, max_num_batched_tokens=budget, max_num_seqs=256
        ),
        card,
        longest=longest,
        weight_format="bf16",
        kv_cache_dtype=build.kv,
        hybrid=has_state(model),
    )
    layout = kv_layout(model, engine, kv, card)
    answer: Answer = {
        "groups": len(layout.groups),
        "block_sizes": sorted({g.cache.block_size for g in layout.groups} - {0}),
        "stage_bytes": list(layout.stage_bytes),
        "fits": needed_bytes(layout) <= kv_bytes,
    }
    if not answer["fits"]:
        return answer | {"longest": min(longest_len(layout, kv_bytes), longest)}
    return answer | {
        "num_blocks": int(num_blocks(layout, kv_bytes)),
        "tokens": int(kv_tokens(layout, kv_bytes)),
        "concurrency": float(max_concurrency(layout, kv_bytes)),
    }


def compare(answers: dict[Build, Answer]) -> tuple[dict[str, Tally], list[str]]:
    """Count what is equal, and say what is not."""
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    differences = []
    for build, answer in answers.items():
        tally = tallies[architecture(build.model)]
        tally.models.add(build.model)
        tally.builds += 1
        if "error" in answer:
            tally.refused += 1
            if not REFUSALS.search(answer["error"]):
                differences.append(f"{build.name}: {answer['error']} ({answer['where']})")
            continue
        for case, theirs in zip(build.cases, answer["cases"], strict=True):
            tally.cases += 1
            mine = ours(build, case)
            tally.equal += mine == theirs
            if mine != theirs:
                keys = sorted(k for k in mine | theirs if mine.get(k) != theirs.get(k))
                told = ", ".join(f"{k} {mine.get(k)} not {theirs.get(k)}" for k in keys)
                differences.append(f"{build.name} {case}: {told}; {answer['specs']}")
    return dict(sorted(tallies.items())), differences


def report(tallies: dict[str, Tally]) -> str:
    """Write the comparison as a page."""
    total = Tally(
        set().union(*(t.models for t in tallies.values())),
        *(sum(getattr(t, name) for t in tallies.values())
          for name in ("builds", "refused", "cases", "equal")),
    )  # fmt: skip
    rows = [
        f"| {name} | {len(t.models)} | {t.builds} | {t.refused} | {t.cases} | {t.equal} |"
        for name, t in [*tallies.items(), ("**all**", total)]
    ]
    return "\n".join([(HERE / "page.md").read_text().rstrip(), *rows, ""])


def main() -> None:
    """Ask, compare, report; fail on any difference."""
    environment, page = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    tallies, differences = compare(ask_all(environment, list(builds())))
    page.write_text(report(tallies), encoding="utf-8")
    cases, equal = (sum(getattr(t, n) for t in tallies.values()) for n in ("cases", "equal"))
    sys.stdout.write(f"KV plans equal to vLLM's: {equal} of {cases}\n")
    if differences:
        listed = "\n".join(differences[:SHOWN])
        raise SystemExit(f"{len(differences)} differences, the first being\n{listed}")


if __name__ == "__main__":
    main()
