"""Step times asked one by one: the step law written out as tables once, then read in microseconds.

A ``StepModel`` is quick for many steps in one call and slow for one. But it is a sum of parts of
one variable each: what passes through the layers depends on the tokens, what is sampled on the
rows, decode attention on the mean context and prefill attention on the pairs a token, for each
token and once:

    T(d, c, n, w, k) = B(d) + d a(c/d) + [X(d+n) - X(d) + H(d+k) - H(d)
        + n g(w/n) + u(w/n)] / stages

Tokens, rows and contexts are whole numbers, so the tables hold every value there is; between two
mean contexts the line is straight. Outside CUDA graphs no step is shorter than its launches. A law
that is neither is asked directly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from fitcalc.physics.launch import host_s
from fitcalc.physics.step import StepModel, StepTimes
from fitcalc.units import Array, Values

_WORST = 1e-5
"""Relative error of a table above which the law is asked directly. [1]"""
_PROBES = 64


class StepLaw(Protocol):
    """Times of steps and of rows of decode-only steps."""

    def mixed_s(self, decodes: int, context: int, tokens: int, work: float, prompts: int) -> float:
        """Time of one step. [s]"""
        ...

    def decode_s(self, decodes: int, context: int, count: int) -> float:
        """Time of ``count`` steps of ``decodes`` sequences, the first with ``context``. [s]"""
        ...

    def steps_in(self, decodes: int, context: int, span_s: float, most: int) -> int:
        """Fewest such steps, ``most`` at most, that last at least ``span_s``. [1]"""
        ...

    def durations_s(self, decodes: Array, contexts: Array) -> Array:
        """Time of each of many decode-only steps. [s]"""
        ...


class AskedLaw:
    """A step law that is asked for every step: slow, and exact for any law."""

    def __init__(self, model: StepTimes) -> None:
        """Ask this model."""
        self._model = model

    def mixed_s(self, decodes: int, context: int, tokens: int, work: float, prompts: int) -> float:
        """Time of one step. [s]"""
        return float(np.asarray(self._model.step_s(decodes, context, tokens, work, prompts)))

    def decode_s(self, decodes: int, context: int, count: int) -> float:
        """Time of ``count`` decode-only steps. [s]"""
        return float(self._row(decodes, context, count).sum())

    def steps_in(self, decodes: int, context: int, span_s: float, most: int) -> int:
        """Fewest decode-only steps that last at least ``span_s``. [1]"""
        ends = np.cumsum(self._row(decodes, context, most))
        return min(int(np.searchsorted(ends, span_s)) + 1, most)

    def durations_s(self, decodes: Array, contexts: Array) -> Array:
        """Time of each of many decode-only steps. [s]"""
        return np.asarray(self._model.step_s(decodes, contexts), dtype=np.float64)

    def _row(self, decodes: int, context: int, count: int) -> Array:
        contexts = context + decodes * np.arange(count, dtype=np.float64)
        return self.durations_s(np.full(count, float(decodes)), contexts)


class TabledLaw:
    """A step law as tables over whole tokens, rows and mean contexts."""

    def __init__(self, model: StepTimes, *, sequences: int, tokens: int, longest: int) -> None:
        """Write out the tables of one configuration.

        Args:
            model: Time of a step.
            sequences: Most sequences of a step. [1]
            tokens: Most tokens of a step. [tokens]
            longest: Longest sequence. [tokens]
        """
        stages = float(np.asarray(model.stages))
        batch = np.arange(sequences + 1, dtype=np.float64)
        share = np.maximum(batch / stages, np.minimum(batch, 1.0))
        context = np.arange(longest + 2, dtype=np.float64)
        alone = _ask(model, 1.0, context)
        attended = alone - alone[1]
        self._fine = fine = max(1, round(stages))  # a micro-batch is so many parts of a batch
        layers = _ask(model, 0.0, 0.0, np.arange((tokens + sequences) * fine + 1.0) / fine)
        enough = float(max(sequences, 1))
        sampled = _ask(model, 0.0, 0.0, enough, 0.0, np.arange(2.0 * sequences * fine + 1) / fine)
        one = _ask(model, 0.0, 0.0, 1.0, context)
        two = _ask(model, 0.0, 0.0, 2.0, 2.0 * context)
        each = two - two[0] - (one - one[0])
        launched = _ask(model, 1.0, 1.0, np.array([0.0, 1.0]))
        more = float(layers[2 * fine] - layers[fine])
        self._beside = float(launched[1] - launched[0]) - more
        self._base: list[float] = _ask(model, batch, batch).tolist()
        self._share: list[float] = share.tolist()
        self._attended: list[float] = attended.tolist()
        self._summed: list[float] = np.concatenate(([0.0], np.cumsum(attended))).tolist()
        self._layers: list[float] = layers.tolist()
        self._sampled: list[float] = (sampled - sampled[0]).tolist()
        self._each: list[float] = each.tolist()
        self._once: list[float] = (one - one[0] - each).tolist()
        self._tables = (np.asarray(self._base), share, attended)

    def mixed_s(self, decodes: int, context: int, tokens: int, work: float, prompts: int) -> float:
        """Time of one step. [s]"""
        time = self.decode_s(decodes, context, 1)
        if not tokens:
            return time
        layers, sampled = self._layers, self._sampled
        if self._fine == 1:
            added = layers[decodes + tokens] - layers[decodes]
            if prompts:
                added += sampled[decodes + prompts] - sampled[decodes]
        else:
            part, fine = round(self._share[decodes] * self._fine), self._fine
            added = layers[part + tokens * fine] - layers[part]
            added += sampled[part + prompts * fine] - sampled[part]
        if decodes:
            added += self._beside
        where = work / tokens
        return time + added + tokens * _at(self._each, where) + _at(self._once, where)

    def decode_s(self, decodes: int, context: int, count: int) -> float:
        """Time of ``count`` decode-only steps. [s]"""
        if not decodes:
            return self._base[0] * count
        first, part = divmod(context, decodes)
        summed, last = self._summed, first + count
        attended = summed[last] - summed[first]
        if part:
            more = self._attended
            attended += (more[last] - more[first]) * part / decodes
        return self._base[decodes] * count + self._share[decodes] * attended

    def steps_in(self, decodes: int, context: int, span_s: float, most: int) -> int:
        """Fewest decode-only steps that last at least ``span_s``. [1]"""
        one = self.decode_s(decodes, context, 1)
        if span_s <= one or most <= 1:
            return 1
        high = min(most, int(span_s / one) + 1)  # steps only get longer
        lasting = self.decode_s(decodes, context, high)
        if lasting < span_s:
            low, high = high, most
        else:  # and D(k) / k only grows
            low = max(1, int(span_s / lasting * high) - 1)
            if self.decode_s(decodes, context, low) >= span_s:
                low = 1
        while high - low > 1:
            middle = (low + high) // 2
            if self.decode_s(decodes, context, middle) < span_s:
                low = middle
            else:
                high = middle
        return high

    def durations_s(self, decodes: Array, contexts: Array) -> Array:
        """Time of each of many decode-only steps. [s]"""
        base, share, attended = self._tables
        batch = decodes.astype(np.int64)
        mean = contexts / np.maximum(decodes, 1.0)
        grown = np.interp(mean, np.arange(len(attended)), attended)
        return np.asarray(base[batch] + share[batch] * grown)


class FlooredLaw:
    """A step law whose steps last no less than the host takes to launch them."""

    def __init__(self, device: StepLaw, floor_s: float) -> None:
        """Put a floor under the device's own time. [s]"""
        self._device = device
        self._floor = floor_s

    def mixed_s(self, decodes: int, context: int, tokens: int, work: float, prompts: int) -> float:
        """Time of one step. [s]"""
        return max(self._device.mixed_s(decodes, context, tokens, work, prompts), self._floor)

    def decode_s(self, decodes: int, context: int, count: int) -> float:
        """Time of ``count`` decode-only steps; they only get longer. [s]"""
        below, above = 0, count
        while below < above:
            middle = (below + above) // 2
            if self._device.decode_s(decodes, context + decodes * middle, 1) < self._floor:
                below = middle + 1
            else:
                above = middle
        rest = self._device.decode_s(decodes, context + decodes * below, count - below)
        return below * self._floor + (rest if below < count else 0.0)

    def steps_in(self, decodes: int, context: int, span_s: float, most: int) -> int:
        """Fewest decode-only steps that last at least ``span_s``. [1]"""
        low, high = 0, max(most, 1)
        while high - low > 1:
            middle = (low + high) // 2
            if self.decode_s(decodes, context, middle) < span_s:
                low = middle
            else:
                high = middle
        return high

    def durations_s(self, decodes: Array, contexts: Array) -> Array:
        """Time of each of many decode-only steps. [s]"""
        return np.maximum(self._device.durations_s(decodes, contexts), self._floor)


def step_law(model: StepTimes, *, sequences: int, tokens: int, longest: int) -> StepLaw:
    """Tables of a step law where it is a sum of such parts, else the law itself.

    Args:
        model: Time of a step.
        sequences: Most sequences of a step. [1]
        tokens: Most tokens of a step. [tokens]
        longest: Longest sequence. [tokens]
    """
    if isinstance(model, StepModel) and np.all(np.asarray(model.launch.kernels) > 0):
        if np.any(np.asarray(model.stages) > 1.0):
            return AskedLaw(model)
        device = replace(model, launch=model.launch._replace(kernels=0.0))
        law = step_law(device, sequences=sequences, tokens=tokens, longest=longest)
        return FlooredLaw(law, float(host_s(model.launch)))
    tabled = TabledLaw(model, sequences=sequences, tokens=tokens, longest=longest)
    draw = np.random.default_rng(0)
    batch = draw.integers(0, sequences + 1, _PROBES)
    context = batch + (batch * draw.random(_PROBES) * (longest - 1)).astype(np.int64)
    chunk = (draw.random(_PROBES) ** 3 * (tokens - batch)).astype(np.int64)
    whole = np.minimum(draw.integers(0, 3, _PROBES), np.minimum(chunk, sequences - batch))
    before = draw.random(_PROBES) * np.maximum(longest - chunk, 0.0)
    work = np.minimum(chunk * (before + chunk / 2.0), chunk * float(longest))
    busy = (batch + chunk) > 0
    columns = [column[busy].astype(np.float64) for column in (batch, context, chunk, work, whole)]
    if not busy.any():
        return tabled
    told = _ask(model, *columns)
    read = np.array([
        tabled.mixed_s(int(d), int(c), int(p), float(w), int(n))
        for d, c, p, w, n in zip(*columns, strict=True)
    ])  # fmt: skip
    close = bool(np.all(np.abs(read - told) <= _WORST * np.abs(told)))
    return tabled if close else AskedLaw(model)


def _ask(model: StepTimes, *columns: Values) -> Array:
    shape = np.broadcast_shapes(*(np.shape(column) for column in columns))
    return np.broadcast_to(np.asarray(model.step_s(*columns), dtype=np.float64), shape)


def _at(table: list[float], where: float) -> float:
    """Value of a table between two whole numbers, and on beyond its last."""
    below = min(int(where), len(table) - 2)
    return table[below] + (table[below + 1] - table[below]) * (where - below)
