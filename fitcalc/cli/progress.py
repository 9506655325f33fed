"""How far long work has come, on stderr and only where somebody looks."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType


@contextmanager
def progress(words: str, *, shown: bool = True) -> Iterator[Callable[[float], None] | None]:
    """Show a bar with the time left on stderr; it is told the share that is done.

    Nothing is yielded where nothing is to be shown, or where stderr is no terminal.
    """
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(words), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task(words, total=1.0)
    with bar:
        yield lambda share: bar.update(task, completed=share)


@contextmanager
def counted(words: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show how many things are done of how many, their rate and the time left, on stderr.

    Nothing is yielded where stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (
        TextColumn(words),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    bar = Progress(*columns, TimeLeft(), console=Console(stderr=True), transient=True)
    task = bar.add_task(words, total=None, rate="")

    def tell(done: int, total: int) -> None:
        speed = bar.tasks[0].speed
        rate = "" if speed is None else f"{speed:,.3g}/s"
        bar.update(task, completed=done, total=total, rate=rate)

    with bar:
        yield tell


@contextmanager
def requests_progress(*, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Show requests that have ended, their rate and the time left; Ctrl-C stops the count.

    The first Ctrl-C lets the next report raise ``Stopped``, so that what is known can be told; a
    second one ends the process as ever.
    """
    from fitcalc.simulation.progress import Stopped

    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        with counted("simulating requests") if shown else nullcontext() as bar:

            def told(ended: int, total: int) -> None:
                if bar is not None:
                    bar(ended, total)
                if stopped:
                    raise Stopped

            yield told
    finally:
        signal.signal(signal.SIGINT, before)
