"""A whole file of scenarios checked: verdicts, what changed, and findings with their lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fitcalc.answers import Limit, Row
from fitcalc.errors import FitcalcError
from fitcalc.inputs.scenario_file import ONLY, ScenarioFile, read_scenarios
from fitcalc.planning.check import Check, check
from fitcalc.planning.lock import Lock, lock_of, read_lock
from fitcalc.planning.missed import Failure
from fitcalc.planning.since import Difference, Kind, differences

FILE = "fitcalc.toml"
_FIELD_OF = {
    Limit.TTFT: "slo.ttft_ms",
    Limit.ITL: "slo.itl_ms",
    Limit.E2E: "slo.e2e_ms",
    Limit.BUDGET: "plan.budget_usd_per_hour",
    Limit.PRICE: "plan.budget_usd_per_hour",
    Limit.MAX_GPUS: "plan.max_gpus",
    Limit.SATURATION: "traffic.qps",
    Limit.MEMORY: "deployment.gpu",
    Limit.CONTEXT: "traffic.ctx",
}
LOCK_RULE = "lock"


class Finding(Row):
    """What is wrong, and on which line of the file.

    Attributes:
        rule: The limit that broke, or "lock".
        scenario: Its name.
        line: Of the field that sets the limit, or of the scenario.
        said: In one sentence.
    """

    rule: str
    scenario: str
    line: int
    said: str


class FileCheck(Row):
    """The verdict on a file. Falsy when a limit was missed, or a locked answer changed.

    Attributes:
        ok: Whether every scenario keeps its promise, and its locked answer where that was asked.
        file: The file.
        failures: The limits that were missed, of all scenarios.
        scenarios: Verdict by verdict.
        baseline: What it was compared with; ``None`` = nothing.
        since: What changed since then, the causes before the answers.
        findings: What is wrong, by line.
    """

    ok: bool
    file: str
    failures: tuple[Failure, ...]
    scenarios: tuple[Check, ...]
    baseline: str | None = None
    since: tuple[Difference, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __bool__(self) -> bool:
        """Whether all is kept."""
        return self.ok

    def markdown(self) -> str:
        """Return the verdict as a comment for a pull request."""
        from fitcalc.planning.check_text import file_markdown  # noqa: PLC0415 - reads this module

        return file_markdown(self)


def check_file(
    path: str | Path = FILE,
    *,
    scenarios: Sequence[str] = (),
    baseline: str | Path | None = None,
    locked: bool = False,
    relax: bool = True,
) -> FileCheck:
    """Check every scenario of a file.

    Args:
        path: The file.
        scenarios: Only these; none = all.
        baseline: A lock or a plan's JSON; what changed since then is said.
        locked: Fail also where an answer differs from the lock's, which is beside the file unless
            ``baseline`` names another.
        relax: Look for the least change that would pass.

    Raises:
        FitcalcError: a file cannot be read, or says what makes no sense, and on which line.
    """
    file = read_scenarios(Path(path))
    if locked and baseline is None:
        baseline = lock_path(file.path)
    before = None if baseline is None else read_lock(Path(baseline), "baseline")
    checks = checked(file, scenarios, relax=relax)
    since: tuple[Difference, ...] = ()
    if before is not None:
        names = {one.name for one in checks}
        kept = before.scenarios.items()
        some = {name: one for name, one in kept if not scenarios or name in names}
        since = differences(lock_of(file, checks), before.model_copy(update={"scenarios": some}))
    moved = [one for one in since if one.kind in (Kind.QUESTION, Kind.ANSWER)] if locked else []
    return FileCheck(
        ok=all(checks) and not moved,
        file=str(path),
        failures=tuple(failure for one in checks for failure in one.failures),
        scenarios=checks,
        baseline=None if baseline is None else str(baseline),
        since=since,
        findings=(*_missed(file, checks), *_moved(file, moved)),
    )


def checked(file: ScenarioFile, names: Sequence[str] = (), *, relax: bool) -> tuple[Check, ...]:
    """Check the scenarios of a file that was read.

    Raises:
        MistakeInFile: a name is unknown or a value makes no sense, and on which line.
    """
    found = []
    for one in file.only(names):
        try:
            verdict = check(one.asked, relax=relax, name=one.name)
        except FitcalcError as error:
            raise file.mistake(one.name, error) from None
        found.append(verdict.model_copy(update={"line": one.line}))
    return tuple(found)


def make_lock(path: Path) -> tuple[Lock, tuple[Check, ...]]:
    """Answer every scenario of a file, to be locked."""
    file = read_scenarios(path)
    checks = checked(file, relax=False)
    return lock_of(file, checks), checks


def lock_path(path: Path) -> Path:
    """Return where the lock of a file is: ``fitcalc.lock`` beside ``fitcalc.toml``."""
    return path.with_suffix(".lock")


def _missed(file: ScenarioFile, checks: Sequence[Check]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            rule=failure.limit.value,
            scenario=one.name,
            line=file.line(one.name, _FIELD_OF.get(failure.limit, "model")),
            said=f"{_named(one.name)}{failure.reason}",
        )
        for one in checks
        for failure in one.failures
    )


def _moved(file: ScenarioFile, moved: Sequence[Difference]) -> tuple[Finding, ...]:
    by_name: dict[str, list[Difference]] = {}
    for one in moved:
        by_name.setdefault(one.scenario, []).append(one)
    known = {one.name: one.line for one in file.scenarios}
    return tuple(
        Finding(
            rule=LOCK_RULE,
            scenario=name,
            line=known.get(name, 1),
            said=f"{_named(name)}not as locked: {'; '.join(one.words() for one in some)}",
        )
        for name, some in by_name.items()
    )


def _named(scenario: str) -> str:
    return "" if scenario == ONLY else f"{scenario}: "
