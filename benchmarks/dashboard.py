"""The dashboard in Chromium: time to an answer, and twenty visitors for a minute.

A visitor of the crowd changes a widget, waits for the answer, thinks, and goes on.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from itertools import count, cycle, islice
from pathlib import Path
from typing import Final

import playwright.async_api as later
from playwright.sync_api import sync_playwright

from fitcalc.units import KIB, MIB
from tests.views import CHROMIUM, VIEWS, View, answered, change, chromium, opened, served, visit

ROUNDS: Final = 2
VISITORS: Final = 20
CROWD_S: Final = 60.0
THINKS_S: Final = 4.0
LIMITS: Final = {"change, median (s)": 1.0, "first load (s)": 4.0, "crowd's rerun, p95 (s)": 3.0}
"""What the dashboard promises on an idle machine of two cores."""
_COUNTS_RUNS: Final = """
window.runs = 0;
new MutationObserver(seen => {
    for (const one of seen)
        if (one.target.dataset.testScriptState === 'notRunning') window.runs += 1;
}).observe(document, {subtree: true, attributeFilter: ['data-test-script-state']});
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


async def _arrive(browser: later.Browser, view: View, link: str) -> later.Page:
    """Open a view by its link."""
    page = await browser.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: print(f"error in {view.name}: {error}"))
    await page.add_init_script(_COUNTS_RUNS)
    await page.goto(link)
    await page.locator(view.number).wait_for()
    return page


async def _visitor(page: later.Page, view: View, nth: int) -> list[float]:
    """Change a view's widget for a minute; return how long each answer took. [s]"""
    await asyncio.sleep(THINKS_S * nth / VISITORS)
    first = view.values[0]
    new = (str(n) for n in count(int(first) + 10 * nth)) if first.isdigit() else cycle(view.values)
    took: list[float] = []
    end = time.perf_counter() + CROWD_S
    while time.perf_counter() < end:
        runs = await page.evaluate("window.runs")
        start = time.perf_counter()
        field = page.get_by_label(view.widget, exact=True)
        await field.fill(next(new))
        await field.press("Enter")
        await page.wait_for_function("before => window.runs > before", arg=runs)
        took.append(time.perf_counter() - start)
        await asyncio.sleep(THINKS_S)
    wrong = await page.get_by_test_id("stException").count()
    await page.close()
    if wrong:
        raise SystemExit(f"{view.name} failed under load")
    return took


async def crowd(address: str) -> list[float]:
    """Let twenty visitors change widgets of every view; return how long answers took. [s]"""
    views = list(islice(cycle([view for view in VIEWS if view.widget]), VISITORS))
    async with later.async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        pages = [await _arrive(browser, view, address + view.link) for view in views]
        visitors = zip(pages, views, range(VISITORS), strict=True)
        took = await asyncio.gather(*(_visitor(*one) for one in visitors))
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
        again = asyncio.run(crowd(address))
        held = f"{before:.0f}, {after:.0f} and {memory_mib(server.pid):.0f} MiB"
    print(f"{VISITORS} visitors: {len(took)} and {len(again)} answers in two minutes, one after")
    print(f"the other; the server held {held} before, between and after")
    figures = {
        "change, median (s)": statistics.median(t for _, each in views.values() for t in each),
        "first load (s)": max(statistics.median(loads) for loads, _ in views.values()),
        "crowd's rerun, p95 (s)": p95([*took, *again]),
    }
    for name, value in figures.items():
        print(f"{name:24} {value:6.2f}   at most {LIMITS[name]:g}")
    print(f"load of the machine after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
