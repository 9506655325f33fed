"""The search's tables are each configuration's own: memory and KV bytes, row by row."""

from __future__ import annotations

import numpy as np
import pytest

from fitcalc import EngineArgs, MemoryLedger
from fitcalc.catalog.gpu import gpu_ids, load_gpus
from fitcalc.catalog.model import load_model
from fitcalc.physics.kv_cache import kv_bytes_per_request
from fitcalc.planning.candidates import Scope, candidates, kv_formats
from fitcalc.planning.kept import SLOTS, TOKEN_BUDGETS, weight_formats
from fitcalc.planning.server import ledger_of, request_bytes
from fitcalc.planning.setup import Setup, set_up

HELD = 2150.0
LENGTH = 2300


@pytest.mark.parametrize(
    "name",
    ["llama-3.1-70b", "gpt-oss-120b", "gemma-3-27b-it", "deepseek-v2-lite", "qwen3.5-35b-a3b"],
)
def test_rows_hold_what_each_configuration_holds_alone(name: str) -> None:
    model = load_model(name)
    cards = load_gpus(gpu_ids())
    engine = EngineArgs(max_model_len=LENGTH)
    scope = Scope(model, cards, weight_formats(model, None), kv_formats(model, "auto"), engine)
    blocks, lost = candidates(scope)
    assert blocks
    assert lost
    for block in blocks[::3]:
        budget, slot = len(TOKEN_BUDGETS) - 2, 1
        for row, gpu in enumerate(block.gpus[::4]):
            setup = set_up(
                model,
                gpu,
                engine.replace(
                    tensor_parallel_size=block.split.tp,
                    pipeline_parallel_size=block.split.pp,
                    quantization=block.weight.id,
                    kv_cache_dtype=block.kv.id,
                    max_num_seqs=int(SLOTS[slot]),
                    max_num_batched_tokens=int(TOKEN_BUDGETS[budget]),
                ),
            )
            assert isinstance(setup, Setup)
            ledger = ledger_of(setup)
            held = ledger.kv_cache_bytes if isinstance(ledger, MemoryLedger) else 0.0
            assert block.kv_bytes[row * 4, budget, slot] == pytest.approx(held, abs=1e6)
            request = float(np.max(kv_bytes_per_request(block.layout, HELD)))
            assert request == pytest.approx(request_bytes(setup, HELD))
