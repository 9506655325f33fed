"""Traffic through vLLM's scheduler, event by event: drawn, or as a file recorded it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import streamlit as st

from drawn import drawn
from fitcalc import Rejection, Slo
from fitcalc.errors import FitcalcError
from fitcalc.planning.simulated import Run, run_simulation
from fitcalc.report.words import count, milliseconds
from fitcalc.simulation.batching import compare_batching
from fitcalc.simulation.over_time import waits
from fitcalc.simulation.routers import Router
from load import Load, ask_load
from over_day import show_day
from server import Server, ask_server
from share import Download, command, plain, show_chart, show_rows, show_share
from traffic_charts import (
    COURSES,
    batching_frame,
    course_chart,
    course_frame,
    waits_chart,
    waits_frame,
)

_LINK: Final = "query-params"
_AT_ONCE: Final = 20_000  # requests simulated without being asked to: a second's work
_STEPS: Final = 100  # of the progress bar
_STEP_S: Final = 0.1  # between two of them at least; each is a message to the browser
_CELL: Final = 168  # px; two stand side by side on a phone


@dataclass(frozen=True, slots=True)
class Fleet:
    """Servers behind a router, the promise they are held to, and the seed of the draw."""

    replicas: int
    router: str
    slo: Slo
    seed: int

    def flags(self) -> list[tuple[str, str]]:
        """Return the command line's options."""
        return [
            ("ttft", f"{self.slo.ttft_ms:g}"), ("itl", f"{self.slo.itl_ms:g}"),
            ("replicas", str(self.replicas)), ("router", self.router), ("seed", str(self.seed)),
        ]  # fmt: skip

    def python(self) -> str:
        """Return the arguments of a call in Python."""
        slo = f"Slo(ttft_ms={self.slo.ttft_ms:g}, itl_ms={self.slo.itl_ms:g})"
        return f'slo={slo}, replicas={self.replicas}, router="{self.router}", seed={self.seed}'


def page() -> None:
    """Ask in the sidebar, simulate, and show the run."""
    st.title("Traffic", anchor=False)
    try:
        with st.sidebar:
            server = ask_server()
            load = ask_load()
            fleet = _fleet()
        if load is None:
            st.info("Upload a file of requests in the sidebar.")
            return
        if load.profile is not None:
            show_day(server, load.profile, fleet.slo)
            st.subheader(f"Simulated: {count(fleet.replicas, 'server')}", anchor=False)
        if load.count > _AT_ONCE and not st.button(f"Simulate {load.count:,} requests"):
            st.caption("Some minutes at most; a change in the sidebar or Cancel ends it.")
            return
        done = _run(server, load, fleet)
    except FitcalcError as error:
        st.error(plain(str(error)))
        return
    if isinstance(done, Rejection):
        st.error(f"It does not run: {plain(done.reason)}.")
        return
    _show(done, fleet.slo)
    flags = [*server.flags(), *load.flags, *fleet.flags()]
    python = (
        f"{load.imports}\n\nfound = simulate(\n    {server.python()},\n    {load.python},\n"
        f"    {fleet.python()},\n)"
    )
    answer = Download(
        "Answer (JSON)", "simulation.json", done.answer.model_dump_json(indent=2),
        "application/json",
    )  # fmt: skip
    show_share(command("simulate", flags), python, [answer])


def _fleet() -> Fleet:
    st.subheader("Promise", anchor=False)
    own = Slo()
    ttft = st.number_input(
        "First token within (ms)", 1.0, 1e7, own.ttft_ms, key="ttft", bind=_LINK, format="%g"
    )
    itl = st.number_input(
        "Between tokens at most (ms)", 1.0, 1e7, own.itl_ms, key="itl", bind=_LINK, format="%g"
    )
    st.subheader("Fleet", anchor=False)
    replicas = int(st.number_input("Servers", 1, 64, 1, key="replicas", bind=_LINK))
    router = st.selectbox("Router", list(Router), 0, key="router", bind=_LINK)
    seed = int(st.number_input("Seed", 0, 2**31, 0, key="seed", bind=_LINK))
    return Fleet(replicas, str(router), Slo(ttft_ms=ttft, itl_ms=itl), seed)


def _run(server: Server, load: Load, fleet: Fleet) -> Run | Rejection:
    """Simulate with a bar; whoever changes a widget meanwhile ends it."""
    bar, cancel = st.progress(0.0, "Simulating"), st.empty()
    if load.count > _AT_ONCE:
        cancel.button("Cancel", help="What is shown goes; nothing is kept.")
    try:
        return run_simulation(
            server.model, server.gpu, server.engine, load.requests, slo=fleet.slo,
            replicas=fleet.replicas, router=fleet.router, seed=fleet.seed,
            progress=_told(bar.progress),
        )  # fmt: skip
    finally:
        bar.empty()
        cancel.empty()


def _told(move: Callable[[float, str], object]) -> Callable[[int, int], None]:
    """Return what moves a bar, at most a hundred times, and never for a moment's work."""
    last, due = [0], [time.monotonic() + _STEP_S]

    def told(ended: int, total: int) -> None:
        step = _STEPS * ended // max(total, 1)
        if step > last[0] and (now := time.monotonic()) >= due[0]:
            last[0], due[0] = step, now + _STEP_S
            move(step / _STEPS, f"Simulating: {ended:,} of {total:,} requests")

    return told


def _show(done: Run, slo: Slo) -> None:
    seen = done.answer
    cells = st.container(horizontal=True)
    cells.metric("First token, p95", milliseconds(seen.ttft_ms.p95), width=_CELL)
    cells.metric("Between tokens, p95", milliseconds(seen.itl_ms.p95), width=_CELL)
    kept = "-" if seen.slo_met is None else f"{100 * seen.slo_met:.1f} %"
    cells.metric("Within the promise", kept, width=_CELL)
    cells.metric("Busy", f"{100 * seen.utilization:.0f} %", width=_CELL)
    if not seen.stable:
        st.warning("The queue grows: the servers do not keep up with this rate.")
    told = [f"{seen.num_requests:,} requests in {seen.duration_s:,.1f} s of traffic"]
    told += [f"{seen.requests_per_s:,.2f} req/s", f"{seen.output_tokens_per_s:,.0f} tokens/s out"]
    told += [f"{seen.preemptions:,} preempted"] if seen.preemptions else []
    told += [f"{seen.refused:,} too long for the server"] if seen.refused else []
    told += [f"{seen.skipped:,} rows passed over"] if seen.skipped else []
    st.caption("; ".join((*told, *seen.notes)) + ".")
    frame = waits_frame(waits(done.records))
    show_chart(waits_chart(frame, slo.ttft_ms), frame, "first-token-over-time")
    if seen.over_time is not None:
        courses = course_frame(seen.over_time)
        left, right = st.columns(2)
        for i, (_, title) in enumerate(COURSES):
            place, chart = (right if i % 2 else left), course_chart(courses, title)
            place.altair_chart(drawn(chart), key=f"course-{i}")
        st.download_button(
            "All courses as CSV", courses.to_csv(index=False), "over-time.csv", "text/csv",
            on_click="ignore", type="tertiary",
        )  # fmt: skip
    _show_batching(done)


def _show_batching(done: Run) -> None:
    """Show what padded batches would have made of the same requests."""
    st.subheader("The same requests in padded batches", anchor=False)
    if len(done.trace) > _AT_ONCE:
        st.caption("Compared for runs of up to 20,000 requests.")
        return
    try:
        frame = batching_frame(compare_batching(done.step, done.trace, done.settings))
    except FitcalcError as error:
        st.caption(plain(str(error)))
        return
    st.dataframe(frame, hide_index=True, column_config={
        name: st.column_config.NumberColumn(format="%.1f") for name in frame.columns[1:]
    })  # fmt: skip
    show_rows(frame, "batching")
    st.caption(
        "One server of these. Static waits until a batch is full, dynamic for 50 ms; both pad to "
        "the longest and answer together. Continuous is vLLM's way."
    )


page()
