"""The dashboard: time to an answer in Chromium, and twenty visitors for a minute.

A visitor of the crowd changes a widget, waits for the answer, thinks, and goes on; once in
Chromium, whose own drawing takes its part of the cores, and once by messages alone.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import playwright.async_api as later
from playwright.sync_api import sync_playwright
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.sessions import crowd as sessions
from benchmarks.sessions import crowd_views, ended, values
from fitcalc.units import KIB, MIB, MILLI
from tests.views import (
    CHROMIUM,
    PATIENCE_S,
    VIEWS,
    View,
    answered,
    change,
    chromium,
    opened,
    served,
    visit,
)

ROUNDS: Final = 2
VISITORS: Final = 20
CROWD_S: Final = 60.0
THINKS_S: Final = 4.0
LIMITS: Final = {
    "change, median (s)": 1.0,
    "first load (s)": 4.0,
    "sessions' rerun, p95 (s)": 3.0,
    "browsers' rerun, p95 (s)": 3.0,
}
"""What the dashboard promises on an idle machine of two cores."""
_DRAWN: Final = """
new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))
"""


def one_visitor() -> dict[str, tuple[list[float], list[float]]]:
    """Time loads and changes of each view; no answer was asked for before. [s]"""
    found: dict[str, tuple[list[float], list[float]]] = {view.name: ([], []) for view in VIEWS}
    with sync_playwright() as play:
        browser = chromium(play)
        for _ in range(ROUNDS):
            with served() as (address, _):
                for view in VIEWS:
                    loads, changes = found[view.name]
                    page = visit(browser)
                    opened(page, view, address + view.link)
                    page.close()
                    page = visit(browser)
                    start = time.perf_counter()
                    number = opened(page, view, address + view.link)
                    loads.append(time.perf_counter() - start)
                    for value in view.values:
                        before = number.inner_text()
                        start = time.perf_counter()
                        change(page, view, value)
                        answered(number, before)
                        changes.append(time.perf_counter() - start)
                    page.close()
        browser.close()
    return found


class _Visitor:
    """A page, and how often the server has said that its script ended.

    The page itself may go from running to not running within one drawing.
    """

    def __init__(self, page: later.Page, view: View) -> None:
        self.page, self.view = page, view
        self._ended = asyncio.Condition()
        self._runs = 0
        page.set_default_timeout(PATIENCE_S / MILLI)
        page.on("pageerror", lambda error: print(f"error in {view.name}: {error}"))
        page.on("websocket", lambda socket: socket.on("framereceived", self._heard))

    async def _heard(self, said: bytes | str) -> None:
        if isinstance(said, bytes) and ended(ForwardMsg.FromString(said)):
            async with self._ended:
                self._runs += 1
                self._ended.notify_all()

    async def arrive(self, address: str) -> None:
        """Open the view by its link."""
        await self.page.goto(address + self.view.link)
        await self.page.locator(self.view.number).wait_for()

    async def stay(self, nth: int) -> list[float]:
        """Change a view's widget for a minute; return how long each answer took. [s]"""
        await asyncio.sleep(THINKS_S * nth / VISITORS)
        new, took, end = values(self.view, nth), [], time.perf_counter() + CROWD_S
        field = self.page.get_by_label(self.view.widget, exact=True)
        while time.perf_counter() < end:
            runs, start = self._runs, time.perf_counter()
            await field.fill(next(new))
            await field.press("Enter")
            async with asyncio.timeout(PATIENCE_S), self._ended:
                while self._runs == runs:
                    await self._ended.wait()
            await self.page.evaluate(_DRAWN)
            took.append(time.perf_counter() - start)
            await asyncio.sleep(THINKS_S)
        wrong = await self.page.get_by_test_id("stException").count()
        await self.page.close()
        if wrong:
            raise SystemExit(f"{self.view.name} failed under load")
        return took


async def crowd(address: str) -> list[float]:
    """Let twenty browsers change widgets of every view; return how long answers took. [s]"""
    async with later.async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        visitors = [_Visitor(await browser.new_page(), view) for view in crowd_views(VISITORS)]
        for one in visitors:
            await one.arrive(address)
        took = await asyncio.gather(*(one.stay(nth) for nth, one in enumerate(visitors)))
        await browser.close()
    return [one for each in took for one in each]


def memory_mib(process: int) -> float:
    """Memory that a process holds now. [MiB]"""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return float(line.split()[1]) * KIB / MIB


def p95(values: Sequence[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


def said(took: Sequence[float]) -> str:
    """Say how long answers took."""
    middle, most = statistics.median(took), max(took)
    return f"{len(took)} answers, median {middle:.2f} s, p95 {p95(took):.2f} s, most {most:.2f} s"


def main() -> None:
    """Print each figure beside its limit."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
    views = one_visitor()
    for name, (loads, changes) in views.items():
        change_s = f"{statistics.median(changes):5.2f} s, at most {max(changes):5.2f} s"
        print(f"{name:10} load {statistics.median(loads):5.2f} s   change {change_s}")
    with served() as (address, server):
        before = memory_mib(server.pid)
        took = asyncio.run(crowd(address))
        after = memory_mib(server.pid)
        again = asyncio.run(sessions(address, VISITORS, CROWD_S, THINKS_S))
        held = f"{before:.0f}, {after:.0f} and {memory_mib(server.pid):.0f} MiB"
    print(f"{VISITORS} browsers for a minute: {said(took)}")
    print(f"{VISITORS} sessions without a browser for a minute: {said(again)}")
    print(f"the server held {held} before, between and after")
    figures = {
        "change, median (s)": statistics.median(t for _, each in views.values() for t in each),
        "first load (s)": max(statistics.median(loads) for loads, _ in views.values()),
        "sessions' rerun, p95 (s)": p95(again),
        "browsers' rerun, p95 (s)": p95(took),
    }
    for name, value in figures.items():
        print(f"{name:24} {value:6.2f}   at most {LIMITS[name]:g}")
    print(f"load of the machine after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
