"""The suite on the CPU: every kernel runs, computes what it says, and is resumable."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `make check` installs it")

from fitcalc.calibrate import tables  # noqa: E402
from fitcalc.calibrate.bench import case, experts, facts, gemm, stack, suite  # noqa: E402
from fitcalc.calibrate.bench.collectives import Ranks  # noqa: E402
from fitcalc.calibrate.bench.device import Device, open_device  # noqa: E402
from fitcalc.calibrate.bench.rows import COLUMNS, Rows, Sample  # noqa: E402
from fitcalc.calibrate.bench.sizes import CPU, GPU, Stack  # noqa: E402
from fitcalc.calibrate.bench.timing import CpuTimer, Cuda, CudaTimer, Effort, Timer  # noqa: E402
from fitcalc.calibrate.tables import read_table  # noqa: E402
from fitcalc.errors import InvalidValue  # noqa: E402
from fitcalc.units import GIB, KIB, MIB  # noqa: E402

QUICK = CpuTimer(Effort(sample_s=0.0, total_s=0.0, least=2, most=2))
SMALL = Stack(2, 256, 512, 512, 2, 1)
TINY = dataclasses.replace(
    CPU,
    models=(("qwen3-0.6b", 8),),
    formats=("bfloat16", "fp8", "sq"),
    rows=(1, 32),
    batches=(1, 2),
    contexts=(64,),
    prompts=(32,),
    moved=(16 * KIB, MIB),
    bandwidth=(MIB,),
    expert_rows=(1,),
    launches=(10,),
    stack=SMALL,
    stack_batches=(2,),
    stack_contexts=(16,),
    messages=(4 * KIB,),
)


@pytest.fixture(scope="module")
def cpu() -> Device:
    torch.set_num_threads(1)  # two wait for each other on a busy machine
    return dataclasses.replace(open_device("cpu"), cache_bytes=MIB)


@pytest.fixture(scope="module")
def measured(cpu: Device, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, suite.Outcome]:
    folder = tmp_path_factory.mktemp("calibration") / "cpu"
    outcome = suite.measure(cpu, folder, budget_s=60.0, sizes=TINY, timer=QUICK)
    return folder, outcome


def test_every_table_is_filled(measured: tuple[Path, suite.Outcome]) -> None:
    folder, outcome = measured
    assert outcome.notes == ()
    assert outcome.left == 0
    for name, columns in COLUMNS.items():
        latency = read_table(folder, name, columns).number(columns[-1])
        assert (latency > 0).all()
    assert outcome.measured == sum(Rows(folder).count(name) for name in COLUMNS)


def test_facts_lie_beside_the_rows(measured: tuple[Path, suite.Outcome]) -> None:
    known = facts.read_facts(measured[0])
    assert known is not None
    assert known["system"] == "cpu"
    assert known["torch"] == torch.__version__


def test_what_stands_is_not_measured_again(
    cpu: Device, measured: tuple[Path, suite.Outcome]
) -> None:
    folder, before = measured
    again = suite.measure(cpu, folder, budget_s=60.0, sizes=TINY, timer=QUICK)
    assert (again.measured, again.standing) == (0, before.measured)


def test_another_device_is_refused(cpu: Device, measured: tuple[Path, suite.Outcome]) -> None:
    other = dataclasses.replace(cpu, facts={**cpu.facts, "name": "another"})
    with pytest.raises(InvalidValue, match=r"rows measured with name = .* now that is 'another'"):
        suite.measure(other, measured[0], budget_s=1.0, sizes=TINY, timer=QUICK)


def test_a_cut_run_holds_coarse_sizes_of_everything(cpu: Device) -> None:
    pretended = dataclasses.replace(cpu, place=torch.device("cuda"), capability=9.0, gpus=8)
    pretended = dataclasses.replace(pretended, room_bytes=40 * GIB)
    found = suite.ordered(suite.FAMILIES, pretended, GPU)
    first = [one for one in found if one.stage == 0]
    assert found[: len(first)] == first
    assert {one.table for one in first} == set(COLUMNS)
    assert {one.cells["m"] for one in first if one.table == "gemm"} >= {1, 8192}
    for dtype in GPU.formats:  # more rows than a law has coefficients
        assert sum(one.cells.get("dtype") == dtype for one in first if one.table == "gemm") >= 12
    assert len(first) < len(found) / 4


def test_no_row_is_planned_twice(cpu: Device) -> None:
    for device, sizes in ((cpu, CPU), (cpu, TINY)):
        keys = [
            (one.table, *sorted(one.cells.items()))
            for one in suite.ordered(suite.FAMILIES, device, sizes)
        ]
        assert len(keys) == len(set(keys))


def test_time_that_is_up_leaves_rows(cpu: Device, tmp_path: Path) -> None:
    outcome = suite.measure(cpu, tmp_path, budget_s=-1.0, sizes=TINY, timer=QUICK)
    assert outcome.measured == 0
    assert outcome.left > 0


class Failing:
    def time(self, calls: object, *, replay: bool = True) -> Sample:
        del calls, replay
        raise RuntimeError("out of memory\nand more")


def test_a_kernel_that_fails_is_said_once(cpu: Device, tmp_path: Path) -> None:
    timer: Timer = Failing()
    one = dataclasses.replace(TINY, formats=("bfloat16",), rows=(1,))
    outcome = suite.measure(cpu, tmp_path, budget_s=60.0, only=["gemm"], sizes=one, timer=timer)
    assert outcome.notes == ("gemm: out of memory",)
    assert (outcome.measured, outcome.left) == (0, 0)


def test_a_family_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidValue, match=r"only = 'gem5' is not valid: use one of bandwidth"):
        suite.chosen(["gem5"])


@pytest.mark.parametrize(
    ("name", "fix"),
    [("gpu", "give cpu, or cuda:0"), ("cpu:1", "give cpu"), ("cuda:0", "torch sees no CUDA GPU")],
)
def test_a_device_that_is_not_there_is_refused(name: str, fix: str) -> None:
    if name == "cuda:0" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InvalidValue, match=fix):
        open_device(name)


@pytest.mark.parametrize("dtype", ["bfloat16", "fp8", "sq"])
def test_a_gemm_multiplies(cpu: Device, dtype: str) -> None:
    result = gemm.call(cpu, dtype, 32, 64, 48)()
    assert isinstance(result, torch.Tensor)
    assert result.shape == (32, 64)
    assert result.float().std() > 1.0


def test_gemms_are_those_of_the_models() -> None:
    assert (28672, 4096) in gemm.shapes((("llama-3.1-8b", 1),))


def test_experts_give_what_a_loop_over_them_gives(cpu: Device) -> None:
    torch.manual_seed(1)
    shape = experts.Experts(hidden=64, inter=32, topk=2, number=4)
    torch.manual_seed(2)
    got = experts.call(cpu, 6, shape)()
    torch.manual_seed(2)
    chosen = torch.arange(12) % 4
    order = torch.argsort(chosen, stable=True)
    x, weight = cpu.random(6, 64), cpu.random(12, 1)
    gate_up, down = cpu.random(4, 64, 64), cpu.random(4, 64, 32)
    wanted = torch.zeros(6, 64)
    for place, pair in enumerate(order.tolist()):
        expert = int(chosen[pair])
        gate, up = (gate_up[expert].float() @ x[pair // 2].float()).chunk(2)
        back = down[expert].float() @ (torch.nn.functional.silu(gate) * up)
        wanted[pair // 2] += back * weight[place].float()
    assert isinstance(got, torch.Tensor)
    assert torch.allclose(got.float(), wanted, rtol=0.1, atol=0.1 * float(wanted.std()))


def test_a_decode_step_gives_what_the_whole_prompt_gives(cpu: Device) -> None:
    batch, ctx = 2, 8
    model = stack.lay_out(cpu, SMALL, batch, ctx, ctx)
    ids = torch.arange(batch * ctx).view(batch, ctx)
    whole = stack.forward(model, ids)
    last = model._replace(cos=model.cos[-1:], sin=model.sin[-1:])
    assert torch.equal(stack.forward(last, ids[:, -1:]), whole)


def test_operands_outgrow_the_cache(cpu: Device) -> None:
    assert cpu.copies(MIB / 8, MIB / 8) == 16
    assert cpu.copies(4 * MIB, 4 * MIB) == 1
    assert dataclasses.replace(cpu, room_bytes=GIB).copies(MIB / 8, GIB / 4) == 4


def test_ranks_that_fail_say_why() -> None:
    ranks = Ranks(2, cuda=False)
    with pytest.raises(RuntimeError, match="allgather"):
        ranks.time("all_gather", 2)


class Clock:
    """Stands for torch.cuda: a graph is a list of launches, an event the count of them."""

    def __init__(self, *, captures: bool) -> None:
        self.launched, self.captures = 0, captures

    def synchronize(self) -> None:
        pass

    def Event(self, *, enable_timing: bool) -> Mark:  # noqa: N802
        assert enable_timing
        return Mark(self)

    def CUDAGraph(self) -> Replay:  # noqa: N802
        return Replay(self)

    @contextmanager
    def graph(self, cuda_graph: Replay) -> Iterator[None]:
        before = self.launched
        yield
        if not self.captures:
            raise RuntimeError("operation not permitted when stream is capturing")
        cuda_graph.size, self.launched = self.launched - before, before

    def call(self) -> None:
        self.launched += 1


class Mark:
    def __init__(self, clock: Clock) -> None:
        self.clock, self.at = clock, 0

    def record(self) -> None:
        self.at = self.clock.launched

    def elapsed_time(self, end: Mark) -> float:
        return (end.at - self.at) * 0.25


class Replay:
    def __init__(self, clock: Clock) -> None:
        self.clock, self.size = clock, 0

    def replay(self) -> None:
        self.clock.launched += self.size


@pytest.mark.parametrize("captures", [True, False])
def test_a_gpu_is_timed_by_graph_where_one_can_be_captured(captures: bool) -> None:  # noqa: FBT001
    clock = Clock(captures=captures)
    calls: list[Callable[[], object]] = [clock.call, clock.call]
    sample = CudaTimer(Effort(sample_s=2e-3), cast("Cuda", clock)).time(calls)
    assert sample == Sample(0.25e-3, 0.0, 30, captures)
    assert not CudaTimer(Effort(), cast("Cuda", clock)).time(calls, replay=False).replayed


def test_every_family_has_a_name_of_its_own() -> None:
    names = [family.name for family in suite.FAMILIES]
    assert len(names) == len(set(names))
    assert all(isinstance(family, case.Family) for family in suite.FAMILIES)


@pytest.mark.gpu
def test_a_gpu_fills_every_coarse_row(tmp_path: Path) -> None:
    device = open_device("cuda:0")
    outcome = suite.measure(device, tmp_path, budget_s=120.0)
    assert outcome.notes == tuple(note for note in outcome.notes if "one GPU" in note)
    gemms = read_table(tmp_path, "gemm", tables.GEMM)
    assert {"bfloat16"} <= set(gemms.text("dtype").tolist())
