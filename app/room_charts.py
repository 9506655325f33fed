"""Users against context as a heat map, and what each setting would free."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from fitcalc.answers import MemoryLedger
from fitcalc.planning.fit_lists import FormatFit
from fitcalc.planning.knobs import Knob
from fitcalc.report.words import number
from fitcalc.units import GIB, KIB
from palette import GREY, RED
from room import Cell

_ROW_PX, _FRAME_PX = 26, 110
"""Height of a row of cells, and of axis and legend."""


def rooms_frame(cells: Sequence[Cell], memory: MemoryLedger) -> pd.DataFrame:
    """Return a row for each cell: how much of the room so many users take. [%]"""
    return pd.DataFrame(
        {
            "context": cell.context,
            "users": cell.users,
            "run at once": room.concurrency if room else 0.0,
            "8 of 10": room_interval(room.concurrency, memory) if room and _kv(cell) else "",
            "limit": ("KV cache" if _kv(cell) else "max_num_seqs") if room else "memory",
            "taken (%)": 100.0 * cell.users / room.concurrency if room else float("inf"),
            "fits": bool(room and cell.users <= room.concurrency),
        }
        for cell in cells
        for room in [cell.room]
    )


def room_interval(concurrency: float, memory: MemoryLedger) -> str:
    """Return how many requests run on 8 of 10 servers, as their KV cache varies."""
    low, high = memory.kv_cache_bytes_p10, memory.kv_cache_bytes_p90
    each = concurrency / memory.kv_cache_bytes
    return f"{number(each * low)} to {number(each * high)}"


def rooms_chart(frame: pd.DataFrame, context: int, users: int) -> alt.LayerChart | alt.FacetChart:
    """Draw users against context; what waits is grey, what was asked for is framed."""
    rows = frame.assign(
        length=[tokens(one) for one in frame["context"]],
        said=[f"{taken:.0f}" if fits else "" for taken, fits in
              zip(frame["taken (%)"], frame["fits"], strict=True)],
    )  # fmt: skip
    lengths = list(dict.fromkeys(rows["length"]))
    x = alt.X("length:O", title="context of each request (tokens)", sort=lengths,
              axis=alt.Axis(labelAngle=0))  # fmt: skip
    y = alt.Y("users:O", title="users at once (requests)", sort="descending")
    tips = [
        alt.Tooltip("context:Q", title="context (tokens)", format=","),
        alt.Tooltip("users:Q", title="users (requests)", format=","),
        alt.Tooltip("run at once:Q", title="run at once (requests)", format=",.4~g"),
        alt.Tooltip("8 of 10:N", title="on 8 of 10 servers (requests)"),
        alt.Tooltip("limit:N", title="what limits"),
        alt.Tooltip("taken (%):Q", title="room taken (%)", format=",.3~g"),
    ]
    base = alt.Chart(rows)
    taken = base.transform_filter("datum.fits").mark_rect().encode(
        x, y, tooltip=tips,
        color=alt.Color(
            "taken (%):Q", title="room taken (%)",
            scale=alt.Scale(scheme="blues", domain=[0, 100]), legend=alt.Legend(orient="top"),
        ),
    )  # fmt: skip
    waits = base.transform_filter("!datum.fits").mark_rect(color=GREY, opacity=0.25)
    words = base.transform_filter("datum.fits").mark_text(fontSize=10).encode(
        x, y, text=alt.Text("said:N"), tooltip=tips,
        color=alt.ColorValue(**alt.condition(
            "datum['taken (%)'] > 50", alt.value("white"), alt.value("black")
        )),
    )  # fmt: skip
    asked = base.transform_filter(
        f"datum.context == {context} && datum.users == {users}"
    ).mark_rect(filled=False, stroke=RED, strokeWidth=3)
    layers = (waits.encode(x, y, tooltip=tips), taken, words, asked.encode(x, y))
    height = _FRAME_PX + _ROW_PX * rows["users"].nunique()
    return alt.LayerChart(layer=layers, height=height)


def tokens(length: int) -> str:
    """Write a length as short as it can be.

    Examples:
        >>> tokens(8192), tokens(5000)
        ('8k', '5,000')
    """
    whole, rest = divmod(length, int(KIB))
    return f"{length:,}" if rest or not whole else f"{whole}k"


def knobs_frame(rows: Sequence[Knob]) -> pd.DataFrame:
    """Return what one setting changes, a line each."""
    return pd.DataFrame(
        {
            "setting": f"{row.setting} {row.value}",
            "fits": row.fits,
            "KV cache (GiB)": _gib(row.kv_cache_bytes),
            "change (GiB)": _gib(row.kv_cache_bytes_change),
            "requests": row.max_concurrency,
            "change (requests)": row.max_concurrency_change,
            "costs": row.cost,
        }
        for row in rows
    )


def formats_frame(rows: Sequence[FormatFit]) -> pd.DataFrame:
    """Return what each weight format leaves, a line each."""
    return pd.DataFrame(
        {
            "format": row.quantization + (" (its own)" if row.own_checkpoint else ""),
            "bits a weight": row.bits,
            "fits": row.fits,
            "weights (GiB)": _gib(row.weights_bytes),
            "KV cache (GiB)": _gib(row.kv_cache_bytes),
            "requests": row.max_concurrency,
        }
        for row in rows
    )


def _kv(cell: Cell) -> bool:
    return cell.room is not None and cell.room.limited_by == "kv_cache"


def _gib(size: float | None) -> float | None:
    return None if size is None else size / GIB
