"""How far a simulation has come, and how to stop it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Told how many requests have ended, and how many there are. It may raise ``Stopped``."""


class Stopped(Exception):
    """The simulation shall end here; requests that have ended are its answer."""


class Tally:
    """Counts what the engines of a fleet have ended."""

    def __init__(self, total: int, told: Progress) -> None:
        """Count up to ``total`` and tell ``told``."""
        self._total, self._told, self._ended = total, told, 0

    def add(self, ended: int) -> None:
        """Take note of requests that ended; some start again where their server failed."""
        self._ended = min(self._total, self._ended + ended)
        self._told(self._ended, self._total)
