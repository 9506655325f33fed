"""The closed form in its exact limits, against the event simulation, and by its laws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc import Lengths, Slo, Traffic
from fitcalc.inputs.trace import Trace
from fitcalc.queueing.closed_loop import closed_loop
from fitcalc.queueing.goodput import goodput, keeps, most_clients
from fitcalc.queueing.latency import latency, ttft_law
from fitcalc.queueing.mixture import Mixture, gamma_cdf, normal_cdf
from fitcalc.queueing.profile import Profile, profile
from fitcalc.queueing.steady import largest_stable_rate, steady
from fitcalc.simulation.fleet import simulate_requests
from fitcalc.simulation.report import simulation
from fitcalc.simulation.scheduler import SchedulerSettings
from fitcalc.units import MILLI, Array, Values


@dataclass(frozen=True)
class Linear:
    """A step that takes a straight line in its work."""

    base: float = 5e-3
    sequence: float = 2e-5
    context: float = 2e-9
    token: float = 3e-5
    pair: float = 1e-10
    stages: Values = 1.0
    ahead: Values = 0.0

    def step_s(
        self,
        decodes: Values,
        context: Values,
        prefill_tokens: Values = 0.0,
        prefill_work: Values = 0.0,
        prefills: Values = 0.0,
    ) -> Array:
        del prefills
        return np.asarray(
            self.base
            + self.sequence * np.asarray(decodes)
            + self.context * np.asarray(context)
            + self.token * np.asarray(prefill_tokens)
            + self.pair * np.asarray(prefill_work)
        )

    def frontend_s(self, prompt_tokens: Values) -> Values:
        return 0.0 * np.asarray(prompt_tokens)


def served(traffic: Traffic, *, law: Linear | None = None, budget: float = 8192.0) -> Profile:
    return profile(law or Linear(), traffic, 256.0, budget)


def test_batch_of_one_is_one_prefill_and_one_step_a_token() -> None:
    traffic = Traffic(concurrency=1, isl=1000, osl=101)
    law = Linear()
    server = served(traffic, law=law)
    state = closed_loop(server, np.array([1.0]))
    answer = latency(server, state)
    first = float(law.step_s(0, 0, 1000, 1000**2 / 2))
    each = float(law.step_s(1, 1050.0))
    assert float(answer.tpot.total_mean[0]) == pytest.approx(each, rel=0.02)
    assert float(state.rate[0]) == pytest.approx(1 / (first + 100 * each), rel=0.02)


def test_prompts_of_one_token_answers_are_an_m_d_1_queue() -> None:
    """Pollaczek-Khinchine for M/D/1: W = rho S / 2 (1 - rho); Kleinrock 1975, vol. 1, eq. 5.71."""
    traffic = Traffic(qps=1, isl=4000, osl=1)
    law = Linear()
    server = served(traffic, law=law, budget=4000.0)
    service = float(law.step_s(0, 0, 4000, 4000**2 / 2)) - law.base
    assert float(largest_stable_rate(server)[0]) == pytest.approx(
        1 / (service + law.base), rel=1e-6
    )
    for load in (0.2, 0.5, 0.8):
        rate = load / float(server.prefill_s[0, 0])
        state = steady(server, np.array([rate]))
        wait = load / (2 * (1 - load)) * float(server.prefill_s[0, 0])
        felt = float(ttft_law(server, state).total_mean[0])
        assert felt == pytest.approx(float(server.prefill_s[0, 0]) + wait, rel=0.01)


def test_no_queue_at_no_load() -> None:
    traffic = Traffic(qps=1, isl=1000, osl=200)
    law = Linear()
    server = served(traffic, law=law)
    answer = latency(server, steady(server, np.array([1e-6])))
    idle = float(law.step_s(0, 0, 1000, 1000**2 / 2))
    assert float(answer.ttft.quantile(0.99)[0]) == pytest.approx(idle, rel=0.01)
    assert float(answer.gaps.quantile(0.5)[0]) == pytest.approx(
        float(law.step_s(1, 1100.0)), rel=0.01
    )


def test_above_the_largest_stable_rate_nothing_is_stable() -> None:
    server = served(Traffic(qps=1, isl=1000, osl=200))
    most = largest_stable_rate(server)
    assert not steady(server, most * 1.001).stable[0]
    assert steady(server, most * 0.999).stable[0]


@pytest.mark.parametrize(("isl", "osl"), [(512, 128), (1000, 256), (4096, 256)])
@pytest.mark.parametrize("load", [0.3, 0.6])
@pytest.mark.parametrize("ahead", [0.0, 1.0])
def test_the_closed_form_agrees_with_events(isl: int, osl: int, load: float, ahead: float) -> None:
    """Both answer the same question with the same step law, each in its own way."""
    traffic = Traffic(qps=1, isl=isl, osl=osl)
    server = served(traffic, law=Linear(ahead=ahead))
    rate = float(largest_stable_rate(server)[0]) * load
    answer = latency(server, steady(server, np.array([rate])))
    trace = Trace.from_traffic(traffic.replace(qps=rate), seed=3, num_requests=3000)
    settings = SchedulerSettings(
        max_num_seqs=256,
        max_num_batched_tokens=8192,
        num_gpu_blocks=10**6,
        async_scheduling=ahead > 0,
    )
    events = simulation(simulate_requests(Linear(), trace, settings), seed=3)
    assert float(answer.tpot.total_mean[0]) / MILLI == pytest.approx(events.tpot_ms.mean, rel=0.05)
    assert float(answer.e2e.total_mean[0]) / MILLI == pytest.approx(events.e2e_ms.mean, rel=0.05)
    assert float(answer.ttft.total_mean[0]) / MILLI == pytest.approx(events.ttft_ms.mean, rel=0.14)
    # Where steps with a prompt are about one in twenty, the p95 leaps: a few in a hundred decide.
    seen_s = events.itl_ms.p95 * MILLI
    assert answer.gaps.share_within(np.array([1.1 * seen_s]))[0] >= 0.93
    assert answer.gaps.share_within(np.array([0.9 * seen_s]))[0] <= 0.97
    assert float(answer.ttft.quantile(0.95)[0]) / MILLI == pytest.approx(
        events.ttft_ms.p95, rel=0.35
    )
    assert float(answer.gaps.quantile(0.5)[0]) / MILLI == pytest.approx(events.itl_ms.p50, rel=0.05)


@pytest.mark.parametrize("clients", [1, 8, 64])
def test_the_closed_loop_agrees_with_events(clients: int) -> None:
    # Lengths differ, as in benchmarks: clients of equal requests would run in step for ever.
    isl, osl = Lengths.uniform(410, 512), Lengths.uniform(103, 128)
    traffic = Traffic(concurrency=clients, isl=isl, osl=osl)
    server = served(traffic)
    state = closed_loop(server, np.array([float(clients)]))
    trace = Trace.from_traffic(traffic, seed=1, num_requests=clients * 30)
    settings = SchedulerSettings(
        max_num_seqs=256, max_num_batched_tokens=8192, num_gpu_blocks=10**6
    )
    events = simulation(simulate_requests(Linear(), trace, settings, concurrency=clients), seed=1)
    assert float(state.rate[0]) == pytest.approx(events.requests_per_s, rel=0.08)
    assert float(state.gap_s[0]) / MILLI == pytest.approx(events.tpot_ms.mean, rel=0.12)


@given(
    isl=st.integers(1, 20_000),
    osl=st.integers(1, 4_000),
    low=st.floats(0.01, 0.9),
    more=st.floats(0.01, 0.09),
    budget=st.sampled_from([1024.0, 8192.0]),
)
def test_more_load_never_shortens_a_wait(
    isl: int, osl: int, low: float, more: float, budget: float
) -> None:
    server = served(Traffic(qps=1, isl=isl, osl=osl), budget=budget)
    most = largest_stable_rate(server)
    quiet, busy = (latency(server, steady(server, most * x)) for x in (low, low + more))
    assert busy.ttft.total_mean[0] >= quiet.ttft.total_mean[0] * (1 - 1e-6)
    assert busy.tpot.total_mean[0] >= quiet.tpot.total_mean[0] * (1 - 1e-6)


@given(
    isl=st.integers(16, 8_000),
    osl=st.integers(2, 2_000),
    ttft=st.floats(50, 5_000),
    itl=st.floats(8, 500),
    looser=st.floats(1.0, 3.0),
)
def test_a_looser_promise_never_lowers_goodput(
    isl: int, osl: int, ttft: float, itl: float, looser: float
) -> None:
    server = served(Traffic(qps=1, isl=isl, osl=osl))
    tight = goodput(server, Slo(ttft_ms=ttft, itl_ms=itl))
    loose = goodput(server, Slo(ttft_ms=ttft * looser, itl_ms=itl * looser))
    assert loose[0] >= tight[0] * (1 - 0.02)


@given(isl=st.integers(16, 8_000), osl=st.integers(2, 2_000))
def test_goodput_keeps_the_promise(isl: int, osl: int) -> None:
    slo = Slo(ttft_ms=2000, itl_ms=60)
    server = served(Traffic(qps=1, isl=isl, osl=osl))
    rate = goodput(server, slo)
    if rate[0] > 0:
        assert keeps(server, steady(server, rate), slo)[0]
    clients = most_clients(server, slo, np.array([256.0]))
    if clients[0] > 0:
        assert keeps(server, closed_loop(server, clients), slo)[0]


@given(factor=st.floats(1.1, 4.0), load=st.floats(0.05, 0.9))
def test_twice_the_speed_halves_every_latency(factor: float, load: float) -> None:
    traffic = Traffic(qps=1, isl=1000, osl=200)
    slow, law = served(traffic), Linear()
    fast = served(
        traffic,
        law=Linear(
            *(x / factor for x in (law.base, law.sequence, law.context, law.token, law.pair))
        ),
    )
    rate = largest_stable_rate(slow) * load
    first, second = latency(slow, steady(slow, rate)), latency(fast, steady(fast, rate * factor))
    assert second.ttft.total_mean[0] * factor == pytest.approx(float(first.ttft.total_mean[0]))
    assert second.e2e.total_mean[0] * factor == pytest.approx(float(first.e2e.total_mean[0]))


def test_rows_do_not_touch_each_other() -> None:
    traffic = Traffic(qps=1, isl=2000, osl=300)
    both = profile(Linear(), traffic, np.array([16.0, 200.0]), np.array([2048.0, 8192.0]))
    for row, (batch, budget) in enumerate([(16.0, 2048.0), (200.0, 8192.0)]):
        alone = profile(Linear(), traffic, batch, budget)
        slo = Slo(ttft_ms=1500, itl_ms=80)
        assert goodput(both, slo)[row] == pytest.approx(float(goodput(alone, slo)[0]))


def test_longer_outputs_are_length_biased() -> None:
    """A request seen at a random step has made E[L²]/2E[L] tokens, not E[L]/2 (renewal theory)."""
    lengths = Lengths.lognormal(mean=300, cv=1.0)
    assert lengths.length_biased == pytest.approx(300.0)
    assert Lengths.fixed(300).length_biased == pytest.approx(150.0)


@pytest.mark.parametrize(
    ("z", "share"), [(0.0, 0.5), (1.2816, 0.9), (1.6449, 0.95), (2.3263, 0.99)]
)
def test_normal_shares_are_the_tabulated_ones(z: float, share: float) -> None:
    """Abramowitz and Stegun, table 26.1."""
    assert float(normal_cdf(np.array(z))) == pytest.approx(share, abs=4e-4)


@pytest.mark.parametrize("x", [0.5, 1.0, 2.0, 4.0])
def test_an_exponential_is_a_gamma_law_of_shape_one(x: float) -> None:
    share = float(gamma_cdf(np.array(x), np.array(1.0), np.array(1.0)))
    assert share == pytest.approx(1 - math.exp(-x), abs=0.01)


@given(
    shift=st.floats(0, 5),
    mean=st.floats(0.01, 5),
    spread=st.floats(0.05, 1),
    share=st.floats(0.05, 0.99),
)
def test_a_quantile_holds_its_share(shift: float, mean: float, spread: float, share: float) -> None:
    one = np.ones((1, 1))
    law = Mixture(shift * one, mean * one, (spread * mean) ** 2 * one, one)
    assert float(law.share_within(law.quantile(share))[0]) == pytest.approx(share, abs=0.01)
