"""How far long work has come, on stderr and only where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
