"""Many scenarios at once: on this machine, in processes, or on a cluster; stopped and resumed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TypeAlias

from fitcalc.catalog.own import own_folder
from fitcalc.catalog.version import tables_version
from fitcalc.errors import FitcalcError, InvalidValue
from fitcalc.inputs.scenario import Scenario
from fitcalc.inputs.toml_file import Table, read_toml
from fitcalc.planning.fields import Ask
from fitcalc.planning.grid import Over, points
from fitcalc.planning.sweep_file import SweepFile
from fitcalc.planning.swept import Sweep, SweepRow, Task, run_task, wrong

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many scenarios are done, and how many there are."""


def sweep(
    scenario: Scenario | Table | str | Path,
    over: Over,
    *,
    ask: Ask | str | None = None,
    executor: Executor | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sweep:
    """Ask one question of many scenarios.

    Args:
        scenario: What all have in common: a scenario, the path of its file, or its sections as a
            mapping, such as ``{"model": "70b", "traffic": {"ctx": "8k"}}``.
        over: Values of fields, in every combination: ``{"traffic.qps": [5, 10], "gpu": ["h100"]}``;
            or a list with the settings of each scenario. A field goes by its section and name, or
            by its name alone; ``None`` leaves it open. A model that is a file must be where the
            executor's machines find it too.
        ask: ``plan`` (in closed form), ``predict``, ``simulate`` or ``fit``; ``None`` = predict
            where a GPU is deployed, plan otherwise.
        executor: Any of ``concurrent.futures``, or a Dask client's ``get_executor()``; it stays
            open. ``None`` = one after the other in this process.
        out: File for the rows, a JSON line each, written as they come. Scenarios that it holds
            already are not asked again; a half-written last line is dropped.
        seed: Of every simulation.
        progress: Told after every scenario how many are done, and how many there are.

    Returns:
        Rows in the order of ``over``, the same whatever the executor. A scenario that makes no
        sense has its ``error``, one that nothing serves its ``rejection``.

    Raises:
        FitcalcError: a field is unknown, no scenario makes sense, ``out`` is of another sweep, or
            the executor failed.

    Examples:
        >>> found = sweep({"model": "8b"}, {"gpu": ["h100", "4090"], "tp": [1, 2]}, ask="fit")
        >>> [row.answer is not None for row in found.rows]
        [True, True, False, True]
    """
    base = _base(scenario)
    asked = _ask(base, over, ask)
    tables, own = tables_version(), own_folder()
    folder = None if own is None else str(own)
    found = points(base, over, asked, tables=tables, seed=seed)
    tasks = [Task(point, asked, seed, tables, folder) for point in found]
    keys = [point.key for point in found]
    store = nullcontext() if out is None else SweepFile.opened(Path(out), keys, tables)
    with store as file:
        done: dict[str, SweepRow] = {} if file is None else dict(file.done)
        waiting = {task.point.key: task for task in tasks if task.point.key not in done}
        total = len(set(keys))
        if progress is not None:
            progress(len(done), total)
        with closing(_rows(list(waiting.values()), executor)) as rows:
            for row in rows:
                if file is not None:
                    file.add(row)
                done[row.key] = row
                if progress is not None:
                    progress(len(done), total)
    # Equal questions can be written in several ways: 5 and 5.0.
    shown = (done[p.key].model_copy(update={"settings": p.settings}) for p in found)
    return Sweep(ask=asked, tables=tables, rows=tuple(shown))


def _base(scenario: Scenario | Table | str | Path) -> Table:
    if isinstance(scenario, Scenario):
        return scenario.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    if isinstance(scenario, Mapping):
        return scenario
    return read_toml(Path(scenario), "scenario")[0]


def _ask(base: Table, over: Over, ask: Ask | str | None) -> Ask:
    """Return the question that was named, or that the scenario is for."""
    if ask is None:
        first = over if isinstance(over, Mapping) else next(iter(over), {})
        deployed = "deployment" in base or "gpu" in first or "deployment.gpu" in first
        return Ask.PREDICT if deployed and "plan" not in base else Ask.PLAN
    if ask not in list(Ask):
        raise InvalidValue("ask", ask, f"use one of {', '.join(Ask)}")
    return Ask(ask)


def _rows(tasks: Sequence[Task], executor: Executor | None) -> Generator[SweepRow]:
    """Answer tasks, in the order they end; what has not begun is called off where one fails."""
    yield from (wrong(task) for task in tasks if task.point.error)
    able = [task for task in tasks if not task.point.error]
    if executor is None:
        yield from map(run_task, able)
        return
    futures = [executor.submit(run_task, task) for task in able]
    try:
        for future in as_completed(futures):
            yield future.result()
    except FitcalcError:
        raise
    except Exception as fault:  # noqa: BLE001 - any executor has its own ways to fail
        what = " ".join(f"{type(fault).__name__}: {fault}".split()).rstrip(".")
        raise FitcalcError(f"a worker of the sweep failed ({what}).") from None
    finally:
        for future in futures:
            future.cancel()
