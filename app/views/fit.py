"""Memory's page: does it fit, for how many users, and what would free some."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from charts import ledger_chart, ledger_frame
from fitcalc.answers import MemoryLedger, Rejection
from fitcalc.errors import FitcalcError
from fitcalc.planning.fit_answers import FitAnswers
from fitcalc.planning.fits import Room
from fitcalc.report.fit_view import asked_lines, least_words
from fitcalc.report.ledger_view import rejection_view
from fitcalc.report.parts import capacity_words
from fitcalc.report.words import count, gib, gpu_name, number, sentence
from fitcalc.units import GIB
from room import Cell, Held, answer, ask_held
from room_charts import formats_frame, knobs_frame, room_interval, rooms_chart, rooms_frame, tokens
from share import Download, plain, show_chart, show_rows, show_share

_CELL = 168  # px; two stand side by side on a phone
_SIZES = {
    "KV cache (GiB)": st.column_config.NumberColumn(format="%.1f"),
    "change (GiB)": st.column_config.NumberColumn(format="%+.1f"),
    "weights (GiB)": st.column_config.NumberColumn(format="%.1f"),
    "requests": st.column_config.NumberColumn(format="%.1f"),
    "change (requests)": st.column_config.NumberColumn(format="%+.1f"),
    "bits a weight": st.column_config.NumberColumn(format="%.2f"),
}
_answer = st.cache_data(max_entries=256, show_spinner="Adding up memory")(answer)


def page() -> None:
    """Ask in the sidebar and by the levers, answer above and below them."""
    top = st.container()
    try:
        held = ask_held()
        found, cells = _answer(held)
    except FitcalcError as error:
        top.error(plain(str(error)))
        return
    memory = found.memory
    with top:
        show_verdict(held, found)
    if isinstance(memory, MemoryLedger):
        show_chart(ledger_chart(memory), ledger_frame(memory), "memory")
        st.caption(plain(capacity_words(memory)))
        show_rooms(held, memory, cells)
    show_what_if(found)
    text = found.model_dump_json(indent=2)
    show_share(
        held.command(),
        held.python(),
        [Download("Fit (JSON)", "fit.json", text, "application/json")],
    )


def show_verdict(held: Held, found: FitAnswers) -> None:
    """Say whether it fits, for how many, and why not."""
    server, memory = held.server, found.memory
    where = f"{server.model} on {count(server.engine.tensor_parallel_size or 1, 'GPU')}"
    if isinstance(memory, Rejection):
        st.subheader(f"{where} of {gpu_name(server.gpu)} does not fit", anchor=False)
        st.error(plain(sentence(rejection_view(memory).plain)))
        st.markdown(plain(least_words(found)))
        return
    barely = "" if memory.fits == "yes" else ", but barely"
    st.subheader(f"{where} of {gpu_name(server.gpu)} fits{barely}", anchor=False)
    low, high = (
        f"{size / GIB:,.1f}" for size in (memory.kv_cache_bytes_p10, memory.kv_cache_bytes_p90)
    )
    with st.container(horizontal=True):
        st.metric(
            "KV cache of each GPU", gib(memory.kv_cache_bytes), width=_CELL,
            help=f"8 of 10 servers are expected to start with {low} to {high} GiB.",
        )  # fmt: skip
        room, longest = found.at_context, found.at_concurrency
        if isinstance(room, Room):
            limited = room.limited_by == "max_num_seqs"
            said = (
                "max_num_seqs is the limit."
                if limited
                else (f"{room_interval(room.concurrency, memory)} on 8 of 10 servers.")
            )
            st.metric(
                f"Users at {tokens(held.context)} tokens", number(room.concurrency),
                width=_CELL, help=said,
            )  # fmt: skip
        if isinstance(longest, Room):
            st.metric(
                f"Longest for {held.concurrency:,} at once", f"{longest.context:,}",
                width=_CELL, help="Tokens of each request, prompt and answer.",
            )  # fmt: skip
        st.metric(
            "Weights of each GPU", gib(memory.weights_bytes), width=_CELL,
            help="Read from the checkpoint's shapes; no interval.",
        )  # fmt: skip
    lines = (*asked_lines(found), *(sentence(note) for note in memory.notes))
    st.markdown("\n".join(f"- {plain(line)}" for line in lines))


def show_rooms(held: Held, memory: MemoryLedger, cells: Sequence[Cell]) -> None:
    """Show how many users fit at which context."""
    st.subheader("Users against context", anchor=False)
    rows = rooms_frame(cells, memory)
    show_chart(rooms_chart(rows, held.context, held.concurrency), rows, "users-context")
    st.caption(
        "A cell's number is the share of the room that so many requests take, in percent; in grey "
        "cells some wait. The frame is what was asked for."
    )


def show_what_if(found: FitAnswers) -> None:
    """Show what each setting and each weight format would change."""
    st.subheader("What if", anchor=False)
    if isinstance(found.memory, MemoryLedger):
        st.markdown(plain(least_words(found)))
    if found.what_frees:
        knobs = knobs_frame(found.what_frees)
        st.markdown("**What one setting changes**")
        st.dataframe(knobs, hide_index=True, column_config=_SIZES, placeholder="-")
        show_rows(knobs, "settings")
    if found.formats:
        formats = formats_frame(found.formats)
        st.markdown("**Weight formats on this GPU**")
        st.dataframe(formats, hide_index=True, column_config=_SIZES, placeholder="-")
        show_rows(formats, "formats")


page()
