"""A linear step law, and a scheduler written out token by token, to hold the simulation against."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from fitcalc.inputs.trace import Trace
from fitcalc.simulation.settings import SchedulerSettings
from fitcalc.units import Values


@dataclass
class LinearLaw:
    """Step time linear in everything; counts its calls."""

    base: float = 6e-3
    decode: float = 2e-5
    token: float = 4e-5
    frontend: float = 0.0
    calls: int = 0
    stages: Values = 1.0
    ahead: Values = 0.0

    def step_s(
        self,
        decodes: Values,
        context: Values,
        prefill_tokens: Values = 0.0,
        prefill_work: Values = 0.0,
        prefills: Values = 0.0,
    ) -> Values:
        self.calls += 1
        return (
            self.base
            + self.decode * decodes
            + 2e-8 * context
            + self.token * prefill_tokens
            + 1e-9 * prefill_work
            + 1e-4 * prefills
        )

    def frontend_s(self, prompt_tokens: Values) -> Values:
        return self.frontend * (1.0 + np.asarray(prompt_tokens) / 1024.0)


@dataclass(eq=False)
class Sequence:
    isl: int
    osl: int
    computed: int = 0
    held: int = 0
    tokens: list[float] = field(default_factory=list)  # times of its output tokens
    preemptions: int = 0
    decoding: bool = False
    scheduled: float = -1.0

    @property
    def length(self) -> int:
        return self.isl + len(self.tokens)


def reference(  # noqa: C901, PLR0912, PLR0915 - vLLM's rules on one page
    law: LinearLaw, trace: Trace, settings: SchedulerSettings, concurrency: int | None = None
) -> tuple[list[Sequence], list[tuple[int, int, int, float, int]]]:
    """Serve token by token by vLLM's rules; steps as (decodes, context, tokens, work, whole)."""
    everyone = [Sequence(int(i), int(o)) for i, o in zip(trace.isl, trace.osl, strict=True)]
    delays = [float(law.frontend_s(float(i))) for i in trace.isl]
    sent = len(everyone) if concurrency is None else min(concurrency, len(everyone))
    arrivals = trace.arrival_s if concurrency is None else np.zeros(len(everyone))
    coming = [(float(arrivals[i]) + delays[i], i) for i in range(sent)]
    waiting: deque[Sequence] = deque()
    running: list[Sequence] = []
    free = settings.num_gpu_blocks - 1
    steps: list[tuple[int, int, int, float, int]] = []
    lag = 1 if settings.async_scheduling else 0
    now, previous_start, busy = 0.0, 0.0, False
    leaving: list[tuple[int, Sequence]] = []

    def blocks(tokens: int) -> int:
        return -(-tokens // settings.block_size)

    def preempt() -> None:
        nonlocal free
        victim = running.pop()
        free += victim.held
        victim.held = victim.computed = 0
        victim.preemptions += 1
        victim.decoding = False
        if len(victim.tokens) < victim.osl:
            waiting.appendleft(victim)

    while True:
        for due, sequence in list(leaving):
            if due <= len(steps) or not busy:
                leaving.remove((due, sequence))
                if sequence not in running:
                    continue  # preempted while its last token was in flight
                running.remove(sequence)
                free += sequence.held
        decided = previous_start if lag and busy else now
        for time, i in sorted(coming):
            if time <= decided:
                waiting.append(everyone[i])
                coming.remove((time, i))
        if not running and not waiting:
            if not coming:
                return everyone, steps
            now, busy = max(now, min(coming)[0]), False
            continue
        budget, preempted = settings.max_num_batched_tokens, False
        chunks: list[tuple[Sequence, int, int]] = []
        for sequence in running.copy():
            if sequence not in running or sequence in (x for _, x in leaving):
                continue
            n = min(sequence.length - sequence.computed, budget)
            if n == 0:
                continue
            while sequence in running and blocks(sequence.computed + n) - sequence.held > free:
                preempt()
                preempted = True
            if sequence not in running:
                break
            free -= blocks(sequence.computed + n) - sequence.held
            sequence.held = blocks(sequence.computed + n)
            chunks.append((sequence, sequence.computed, n))
            budget -= n
        while not preempted and waiting and budget > 0 and len(running) < settings.max_num_seqs:
            sequence = waiting[0]
            if sequence.length > budget and not settings.enable_chunked_prefill:
                break
            if blocks(sequence.length) > free:
                break
            waiting.popleft()
            n = min(sequence.length, budget)
            free -= blocks(n)
            sequence.held = blocks(n)
            running.append(sequence)
            chunks.append((sequence, 0, n))
            budget -= n
            if sequence.scheduled < 0:
                sequence.scheduled = now
        assert free >= 0
        if not chunks:
            assert leaving
            busy = False
            continue
        decodes = [c for c in chunks if c[0].decoding]
        prompts = [c for c in chunks if not c[0].decoding]
        whole = [s for s, before, n in prompts if before + n == s.length]
        row = (
            len(decodes),
            sum(before + 1 for _, before, _ in decodes),
            sum(n for _, _, n in prompts),
            sum(n * before + n * n / 2.0 for _, before, n in prompts),
            len(whole),
        )
        steps.append(row)
        end = now + float(law.step_s(*row))
        previous_start, now, busy = now, end, True
        ended = []
        for sequence, before, n in chunks:
            sequence.computed = before + n
            if sequence.computed == sequence.length:
                sequence.tokens.append(end)
                sequence.decoding = True
                if len(sequence.tokens) == sequence.osl:
                    leaving.append((len(steps) + lag, sequence))
                    ended.append(sequence)
        for _ in ended:
            if sent < len(everyone):
                coming.append((end + delays[sent], sent))
                sent += 1


def gaps(sequences: list[Sequence]) -> list[float]:
    return [b - a for s in sequences for a, b in pairwise(s.tokens)]
