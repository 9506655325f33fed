"""Speculative decoding beside a plan: servers with it, without it, and the batch where it ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fitcalc.answers import MemoryLedger, Rejection
from fitcalc.catalog.model import TensorKind
from fitcalc.errors import InvalidValue
from fitcalc.inputs.speculation import DraftMethod, Speculation
from fitcalc.physics.drafting import DraftingStep
from fitcalc.planning.feature import Feature, FeatureName, judged
from fitcalc.planning.finalists import Finalist
from fitcalc.planning.ranking import Limits
from fitcalc.planning.search import Search
from fitcalc.planning.server import fitting, ledger_of, prefixes_of, step_of
from fitcalc.planning.setup import Setup
from fitcalc.planning.sized import Sized, sized
from fitcalc.queueing.profile import Profile, profile

_WIDEST, _POINTS = 4096.0, 200
"""Requests up to which drafts are looked at, and at how many batch sizes. [1]"""


def speculative(
    search: Search, kept: Sequence[Finalist], asked: Speculation, limits: Limits
) -> Feature:
    """Compare the plan's configurations with drafts and without, both in closed form.

    Args:
        search: The question.
        kept: The best of every GPU type, and of the winner's formats.
        asked: Who drafts, how much, and how much is accepted.
        limits: What bounds the plan.

    Raises:
        InvalidValue: the model has no layers that predict several tokens.
    """
    mtp = any(tensor.kind is TensorKind.MTP for tensor in search.model.outer)
    if asked.method is DraftMethod.MTP and not mtp:
        fix = f"{search.model.id} has no multi-token-prediction layer; use eagle3 or ngram"
        raise InvalidValue("speculative", asked.method.value, fix)
    able = [one for one in kept if one.setup.engine.pipeline_parallel_size == 1]
    plain, drafted = (
        min(
            (
                made
                for one in able
                if (made := sized(search, one, _server(search, one, how), limits)) is not None
            ),
            key=lambda made: made.order,
            default=None,
        )
        for how in (None, asked)
    )
    best = drafted or plain
    said = best.one.choice.prediction if best else None
    return judged(
        FeatureName.SPECULATIVE_DECODING,
        drafted.fleet if drafted else None,
        plain.fleet if plain else None,
        risk=said.interval.tpot_ms[1] / said.tpot_ms.mean - 1.0 if said else 0.0,
        why=_why(search, best, asked) if best else (),
        flags=_flags(asked),
    )


def _server(search: Search, one: Finalist, asked: Speculation | None) -> Profile | None:
    """Return a configuration's profile; ``None`` = the draft leaves no room."""
    setup, traffic = one.setup, search.traffic
    ledger = one.ledger if asked is None else _beside_draft(setup, one.ledger, asked)
    if ledger is None:
        return None
    drafts = asked.num_speculative_tokens if asked else 0
    budget = float(setup.engine.max_num_batched_tokens)
    held = min(float(setup.engine.seats), fitting(setup, ledger, traffic), budget / (1.0 + drafts))
    return profile(
        step_of(setup) if asked is None else _step(setup, asked),
        traffic,
        np.array([max(held, 1.0)]),
        np.array([budget]),
        prefix_caching=search.prefix_caching,
        prefixes=prefixes_of(setup, ledger, traffic),
        tokens_a_step=asked.tokens_a_step if asked else 1.0,
        scheduled=1.0 + drafts,
    )


def _step(setup: Setup, asked: Speculation) -> DraftingStep:
    layers = 0.0 if asked.method is DraftMethod.NGRAM else 1.0 / setup.model.num_hidden_layers
    return DraftingStep(step_of(setup), asked.num_speculative_tokens, layers)


def _beside_draft(setup: Setup, ledger: MemoryLedger, asked: Speculation) -> MemoryLedger | None:
    """Return the ledger with the draft loaded: MTP as vLLM does, EAGLE as one more layer."""
    if asked.method is DraftMethod.NGRAM:
        return ledger
    if asked.method is DraftMethod.MTP:
        drafts = {"num_speculative_tokens": asked.num_speculative_tokens}
        loaded = Setup(
            setup.model, setup.gpu, setup.engine.replace(**drafts), setup.weight, setup.kv,
            setup.own_checkpoint,
        )  # fmt: skip
        found = ledger_of(loaded)
        return None if isinstance(found, Rejection) else found
    layers = setup.model.num_hidden_layers
    left = (ledger.kv_cache_bytes - ledger.weights_bytes / layers) * layers / (layers + 1.0)
    return ledger.model_copy(update={"kv_cache_bytes": left}) if left > 0 else None


def _why(search: Search, best: Sized, asked: Speculation) -> tuple[str, ...]:
    """Say how much faster tokens come by batch size, and from which batch on no faster."""
    tokens, setup = asked.tokens_a_step, best.one.setup
    seats = float(setup.engine.seats)
    batch = np.unique(np.round(np.geomspace(1.0, max(_WIDEST, seats), _POINTS)))
    context = batch * search.traffic.held
    plain = step_of(setup).step_s(batch, context)
    faster = tokens * plain / _step(setup, asked).step_s(batch, context)
    paying = int(np.logical_and.accumulate(faster > 1.0).sum())
    now = float(np.interp(best.batch, batch, faster))
    end = (
        f"it would stop paying at about {batch[paying]:,.0f} running requests"
        if paying < len(batch)
        else f"it would still pay at {batch[-1]:,.0f} running requests"
    )
    first = (
        f"{asked.num_speculative_tokens} drafted tokens, each kept with {asked.acceptance:g}, make "
        f"{tokens:.3g} tokens a step; a step takes {tokens / faster[0]:.2f} times as long for one "
        f"request and {tokens / now:.2f} times for the {best.batch:.0f} that run"
    )
    second = (
        f"tokens come {faster[0]:.2f} times as fast for one request and {now:.2f} times then; {end}"
    )
    gaps = "drafted tokens come together: the gap that is promised is a whole step"
    return first, second, gaps


def _flags(asked: Speculation) -> str:
    """Return what ``vllm serve`` takes besides."""
    model = asked.model
    if not model and asked.method in {DraftMethod.EAGLE, DraftMethod.EAGLE3}:
        model = "YOUR-DRAFT"
    named = f" --spec-model {model}" if model else ""
    tokens = asked.num_speculative_tokens
    return f"--spec-method {asked.method.value}{named} --spec-tokens {tokens}"
