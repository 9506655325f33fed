"""Tables of the step law against the law itself, for models of every kind of layer."""

from __future__ import annotations

import numpy as np
import pytest

from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.server import step_of
from fitcalc.planning.setup import Setup, set_up
from fitcalc.simulation.arrivals import TimedLoop
from fitcalc.simulation.engine import Engine
from fitcalc.simulation.law import AskedLaw, FlooredLaw, TabledLaw, step_law
from fitcalc.simulation.settings import SchedulerSettings
from fitcalc.units import Values
from tests.simulation.laws import LinearLaw

SERVERS = [
    ("llama-3.1-8b", "h100_sxm", EngineArgs()),
    ("llama-3.1-70b", "h100_sxm", EngineArgs(tensor_parallel_size=4)),
    ("llama-3.1-70b", "h100_sxm", EngineArgs(tensor_parallel_size=2, pipeline_parallel_size=2)),
    ("gpt-oss-120b", "h100_sxm", EngineArgs()),
    ("gemma-3-27b", "h100_sxm", EngineArgs()),
    ("deepseek-r1", "h200_sxm", EngineArgs(tensor_parallel_size=8)),
    ("qwen3-next-80b-a3b", "h200_sxm", EngineArgs(tensor_parallel_size=4)),
    ("llama-3.1-8b", "h100_sxm", EngineArgs(enforce_eager=True)),
    ("llama-3.1-8b", "a100_sxm", EngineArgs(enforce_eager=True)),
    ("qwen3-30b-a3b", "h100_sxm", EngineArgs(data_parallel_size=2, enable_expert_parallel=True)),
]
LONGEST = 9000


@pytest.mark.parametrize(("model", "gpu", "engine"), SERVERS)
def test_tables_are_the_law(model: str, gpu: str, engine: EngineArgs) -> None:
    setup = set_up(model, gpu, engine)
    assert isinstance(setup, Setup)
    step = step_of(setup)
    law = step_law(step, sequences=512, tokens=8192, longest=LONGEST)
    assert isinstance(law, FlooredLaw if engine.enforce_eager else TabledLaw)
    draw = np.random.default_rng(7)
    for _ in range(200):
        d, n = int(draw.integers(0, 300)), int(draw.integers(0, 4))
        c, p = d + int(d * draw.random() * 8000), int(draw.integers(n, 4000))
        w = p * (draw.random() * 4000 + p / 2)
        if d + p:
            told = float(step.step_s(d, c, p, w, n if p else 0))
            assert law.mixed_s(d, c, p, w, n if p else 0) == pytest.approx(told, rel=1e-6)
    many = AskedLaw(step)
    for d, c, count in ((1, 17, 3000), (37, 37 * 500 + 5, 400), (300, 300 * 4000 + 11, 77)):
        assert law.decode_s(d, c, count) == pytest.approx(many.decode_s(d, c, count), rel=1e-9)
        for share in (0.0, 0.3001, 0.7101, 1.0, 2.0):  # between two steps of equal length
            span = share * many.decode_s(d, c, count)
            assert law.steps_in(d, c, span, count) == many.steps_in(d, c, span, count)


class Bent(LinearLaw):
    """A law that is no sum of parts: decodes and prompt tokens multiply."""

    def step_s(
        self,
        decodes: Values,
        context: Values,
        prefill_tokens: Values = 0.0,
        prefill_work: Values = 0.0,
        prefills: Values = 0.0,
    ) -> Values:
        plain = super().step_s(decodes, context, prefill_tokens, prefill_work, prefills)
        return plain + 1e-6 * np.asarray(decodes) * prefill_tokens


def test_a_law_that_is_no_sum_is_asked() -> None:
    law = step_law(Bent(), sequences=64, tokens=512, longest=1000)
    assert isinstance(law, AskedLaw)
    trace = Trace.from_traffic(Traffic(qps=8, isl=200, osl=40, num_requests=60))
    engine = Engine(Bent(), trace, SchedulerSettings(64, 512, 2000), TimedLoop(trace.arrival_s))
    engine.run()
    slow = Engine(
        Bent(), trace, SchedulerSettings(64, 512, 2000), TimedLoop(trace.arrival_s), skip=False
    )
    slow.run()
    np.testing.assert_allclose(engine.requests.finish_s, slow.requests.finish_s, rtol=1e-9)
    assert engine.timeline.ends_s()[-1] == pytest.approx(engine.timeline.now_s)
