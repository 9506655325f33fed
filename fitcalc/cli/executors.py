"""Where many questions are worked out: in this process, in others, on a Dask cluster."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fitcalc.errors import FitcalcError, InvalidValue

if TYPE_CHECKING:
    from concurrent.futures import Executor

_PATIENCE_S = 10
"""How long a cluster may take to answer, and to have a worker. [s]"""


@contextmanager
def executor_of(jobs: int, dask: str | None) -> Iterator[Executor | None]:
    """Give an executor for as long as it is needed; ``None`` = this process.

    Args:
        jobs: Processes. [1]
        dask: Address of a cluster's scheduler.

    Raises:
        FitcalcError: Dask is not installed, or nobody answers there.
    """
    if dask is not None:
        with _cluster(dask) as executor:
            yield executor
    elif jobs > 1:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        # Spawned, not forked: the progress bar's thread may hold locks.
        with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_deaf) as executor:
            _started(executor, jobs)
            yield executor
    else:
        yield None


def _started(executor: Executor, jobs: int) -> None:
    """Start every worker deaf to interrupts, also while it still loads."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for _ in range(jobs):
            executor.submit(int)
    finally:
        signal.signal(signal.SIGINT, before)


def _deaf() -> None:
    """Let a worker end what it has begun: an interrupt is this process's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        fix = "install the extra: pip install 'fitcalc[dask]'"
        raise FitcalcError(f"--dask needs dask.distributed: {fix}.") from None
    try:
        client = Client(address, timeout=_PATIENCE_S, set_as_default=False)
    except (OSError, ValueError):
        fix = "no Dask scheduler answers there; give one such as tcp://host:8786"
        raise InvalidValue("--dask", address, fix) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE_S)
        except TimeoutError:
            fix = "the cluster has no workers; start one: dask worker tcp://host:8786"
            raise InvalidValue("--dask", address, fix) from None
        yield client.get_executor(pure=False)
