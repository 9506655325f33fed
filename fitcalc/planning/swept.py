"""What a sweep answers: one row a scenario, and how a row is worked out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from fitcalc.answers import MemoryLedger, Prediction, Rejection, Row
from fitcalc.catalog.gpu import resolve_gpu
from fitcalc.catalog.own import calibration
from fitcalc.catalog.version import tables_version
from fitcalc.errors import FitcalcError, UnknownName
from fitcalc.inputs.scenario import Deployment, Scenario, scenario_of, server_of
from fitcalc.planning.choice import Choice, RejectedChoice
from fitcalc.planning.cost import bill, usd_per_million
from fitcalc.planning.fields import Ask
from fitcalc.planning.grid import Cell, Point
from fitcalc.planning.market import on_demand
from fitcalc.planning.missed import missed
from fitcalc.simulation.report import Simulation


class By(StrEnum):
    """What makes a row better than another."""

    COST = "cost"
    LATENCY = "latency"


class SweepRow(Row):
    """One scenario's answer, or its no, or why it makes no sense.

    Attributes:
        key: Fingerprint of the question and the tables.
        tables: Fingerprint of fitcalc's version, tables and own calibration.
        ask: Which question.
        settings: What sets the scenario apart, by field; ``None`` = left open.
        answer: As the question answers by itself; of a plan its best choice.
        rejection: What is missing where nothing serves.
        error: One sentence where the scenario makes no sense.
        kept: Whether the promise is kept; ``None`` where nothing was promised or answered.
        gpus: GPUs of all replicas. [1]
        usd_per_hour: All replicas; ``None`` where no price is known. [USD/h]
        usd_per_million_output_tokens: At the rate served. [USD]
    """

    key: str
    tables: str
    ask: Ask
    settings: dict[str, Cell]
    answer: Choice | Prediction | Simulation | MemoryLedger | None = None
    rejection: RejectedChoice | Rejection | None = None
    error: str | None = None
    kept: bool | None = None
    gpus: int | None = None
    usd_per_hour: float | None = None
    usd_per_million_output_tokens: float | None = None

    @property
    def felt(self) -> Prediction | Simulation | None:
        """What users feel, where the answer tells."""
        if isinstance(self.answer, Choice):
            return self.answer.prediction
        return None if isinstance(self.answer, MemoryLedger) else self.answer

    def order(self, by: By) -> tuple[bool, bool, float, float]:
        """Rank by cost or latency, the best first; who keeps the promise before who does not.

        Memory ranks by the requests that fit at once.
        """
        felt = self.felt
        if felt is None:
            users = self.answer.max_concurrency if isinstance(self.answer, MemoryLedger) else 0.0
            return self.answer is None, False, -users, 0.0
        money = self.usd_per_million_output_tokens
        cost, wait = math.inf if money is None else money, felt.e2e_ms.mean
        first, second = (cost, wait) if by is By.COST else (wait, cost)
        return False, self.kept is False, first, second


class Sweep(Row):
    """The answers to every scenario, in the order of the grid. Falsy where nothing serves."""

    ask: Ask
    tables: str
    rows: tuple[SweepRow, ...]

    def __bool__(self) -> bool:
        """Whether any scenario has an answer."""
        return any(row.answer is not None for row in self.rows)

    def ranked(self, by: By | str = By.COST) -> tuple[SweepRow, ...]:
        """Return the rows that have an answer, the best first.

        Args:
            by: ``cost`` or ``latency``.
        """
        answered = (row for row in self.rows if row.answer is not None)
        return tuple(sorted(answered, key=lambda row: row.order(By(by))))


@dataclass(frozen=True, slots=True)
class Task:
    """A point, with all that another machine must know to answer it.

    Attributes:
        point: The scenario.
        ask: Which question.
        seed: Of every simulation.
        tables: Fingerprint of the tables that must answer.
        own: Folder of the user's own calibration.
    """

    point: Point
    ask: Ask
    seed: int
    tables: str
    own: str | None


def run_task(task: Task) -> SweepRow:
    """Answer one scenario.

    Raises:
        FitcalcError: this machine has other tables than the one that asks.
    """
    with calibration(task.own):
        here = tables_version()
        if here != task.tables:
            fix = "install the same fitcalc and calibration on every machine of the sweep"
            raise FitcalcError(f"a worker has the tables {here}, not {task.tables}: {fix}.")
        try:
            return _answered(task)
        except FitcalcError as mistake:
            return _row(task, error=str(mistake))
        except Exception as fault:  # noqa: BLE001 - one scenario must not end the others
            what = " ".join(f"{type(fault).__name__}: {fault}".split())
            return _row(task, error=f"fitcalc failed ({what}): this is a mistake of fitcalc.")


def wrong(task: Task) -> SweepRow:
    """Return the row of a scenario that makes no sense."""
    return _row(task, error=task.point.error)


def _row(task: Task, **found: object) -> SweepRow:
    row = {"key": task.point.key, "tables": task.tables, "ask": task.ask}
    return SweepRow.model_validate({**row, "settings": task.point.settings, **found})


def _answered(task: Task) -> SweepRow:
    question = task.point.question
    if task.ask is Ask.FIT:
        from fitcalc.planning.fits import fit  # noqa: PLC0415 - each question loads its own

        server = server_of(question)
        ledger = fit(server.model, server.deployment.gpu, server.engine)
        if isinstance(ledger, Rejection):
            return _row(task, rejection=ledger)
        return _row(task, answer=ledger, gpus=server.engine.gpus)
    asked = scenario_of(question)
    if asked.deployment is None:
        return _planned(task, asked)
    return _served(task, asked, asked.deployment)


def _planned(task: Task, asked: Scenario) -> SweepRow:
    from fitcalc.planning.planned import plan_of  # noqa: PLC0415

    found = plan_of(asked, top=1)
    best = found.best
    if best is None:
        return _row(task, rejection=found.closest)
    return _row(
        task,
        answer=best,
        kept=True,
        gpus=best.gpu_count,
        usd_per_hour=best.usd_per_hour,
        usd_per_million_output_tokens=best.usd_per_million_output_tokens,
    )


def _served(task: Task, asked: Scenario, where: Deployment) -> SweepRow:
    found: Prediction | Simulation | Rejection
    if task.ask is Ask.SIMULATE:
        from fitcalc.planning.simulated import simulate  # noqa: PLC0415

        found = simulate(
            asked.model, where.gpu, asked.engine, asked.traffic,
            seed=task.seed, replicas=where.replicas, slo=asked.slo,
        )  # fmt: skip
        servers = 1
    else:
        from fitcalc.planning.predict import predict  # noqa: PLC0415

        share = asked.traffic.share(where.replicas)
        found = predict(asked.model, where.gpu, asked.engine, share, seed=task.seed)
        servers = where.replicas
    if isinstance(found, Rejection):
        return _row(task, rejection=found)
    money = _usd_per_hour(where, asked.engine.gpus)
    rate = found.output_tokens_per_s * servers
    return _row(
        task,
        answer=found,
        kept=found.stable and not missed(found, asked.slo),
        gpus=asked.engine.gpus * where.replicas,
        usd_per_hour=money,
        usd_per_million_output_tokens=None if money is None else usd_per_million(money, rate),
    )


def _usd_per_hour(where: Deployment, gpus: int) -> float | None:
    try:
        found = bill(resolve_gpu(where.gpu), gpus, where.replicas, on_demand())
    except UnknownName:  # a slice of a card, or one's own: nobody sells it
        return None
    return None if found is None else found.usd_per_hour
