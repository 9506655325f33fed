"""The part of a page about servers and money over a day: scaled, for the peak, or an API."""

from __future__ import annotations

import streamlit as st

from by_hour import Profile, by_hour
from by_hour_charts import (
    money_chart,
    money_frame,
    servers_chart,
    servers_frame,
    totals_frame,
)
from fitcalc import Rejection, Slo
from fitcalc.planning.choice import Choice, Hosted, Plan
from fitcalc.report.day_view import day_lines
from fitcalc.report.plan_view import nothing_words
from fitcalc.report.reserves import confidence_words
from fitcalc.report.words import number
from server import Server
from share import plain, show_chart, show_rows


def show_day(server: Server, profile: Profile, slo: Slo) -> None:
    """Show how many of one kind of server a profile takes, and what they cost.

    Raises:
        FitcalcError: the question makes no sense; the message is one sentence.
    """
    st.subheader(f"Servers over the {profile.name}", anchor=False)
    answer = by_hour(server, profile, slo)
    if isinstance(answer, Rejection):
        st.error(f"It does not start: {plain(answer.reason)}.")
    elif answer.found.best is None or answer.found.day is None:
        st.error(plain(nothing_words(answer.found)))
    else:
        _show(answer.found, profile)
        with st.expander("The same in Python"):
            st.code(answer.python, language=None, wrap_lines=True)


def _show(found: Plan, profile: Profile) -> None:
    day, best = found.day, found.best
    assert day is not None  # noqa: S101 - the caller has looked
    assert best is not None  # noqa: S101 - the caller has looked
    st.markdown("\n".join(f"- {plain(line)}" for line in day_lines(day)))
    tokens = profile.traffic.isl.mean + profile.traffic.osl.mean
    totals = totals_frame(day, found.hosted, profile.name, tokens)
    st.dataframe(totals, hide_index=True, placeholder="-", column_config={
        name: st.column_config.NumberColumn(format="%.3f" if name == "USD/Mtok" else "%.1f")
        for name in totals.columns[1:]
    })  # fmt: skip
    show_rows(totals, "day-totals")
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Servers**")
        frame = servers_frame(day)
        show_chart(servers_chart(frame), frame, "servers-by-hour")
    with right:
        st.markdown("**Cost**")
        money = money_frame(day, found.hosted)
        if money.empty:
            st.info("No price is known for this GPU.")
        else:
            show_chart(money_chart(money), money, "cost-by-hour")
    told = [confidence_words(best), best.price_source and f"Servers: {best.price_source}."]
    st.caption(plain(" ".join(words for words in (*told, _apis(found.hosted, best)) if words)))


def _apis(hosted: Hosted | None, best: Choice) -> str:
    """Say where API prices are from, and from which rate on servers cost less."""
    if hosted is None:
        return "No list price of an API is known for this model."
    source = f"APIs: list prices, {hosted.source}, {hosted.hosts[0].checked}."
    if best.usd_per_hour is None:
        return source
    if hosted.break_even_qps is None:
        return f"{source} The cheapest costs less than such servers at every rate."
    even = number(hosted.break_even_qps)
    return f"{source} Servers cost less than the cheapest from a peak of {even} requests/s on."
