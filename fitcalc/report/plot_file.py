"""A simulation as a picture: one Vega-Lite chart, as PNG, SVG, or HTML that asks no server."""

from __future__ import annotations

import json
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import numpy as np

from fitcalc.report.whole_file import missing, suffix_of, whole_file
from fitcalc.simulation.quantiles import quantiles
from fitcalc.simulation.records import Records
from fitcalc.simulation.report import Simulation
from fitcalc.units import MILLI, Array

SUFFIXES = (".html", ".png", ".svg")
Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | bool | None"

_WIDTH, _HEIGHT, _SCALE = 360, 130, 2.0
_SHARES = np.linspace(0.0, 1.0, 101)
_PANELS = (
    ("arrivals", "requests sent (1/s)", 1.0),
    ("queue", "requests waiting", 1.0),
    ("batch", "requests running", 1.0),
    ("kv_usage", "KV cache in use (%)", 100.0),
    ("output_tokens", "output tokens/s", 1.0),
    ("preemptions", "preemptions (1/s)", 1.0),
)
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"


def check_plot_file(path: Path) -> None:
    """Refuse a file that could not be written after the run.

    Raises:
        InvalidValue: its format is not known, or nothing is installed that draws it.
    """
    suffix_of(path, SUFFIXES, "plot")
    if find_spec("vl_convert") is None:
        raise missing("plot", path, "plot")


def write_plot(answer: Simulation, seen: Records, path: Path) -> None:
    """Draw a run: its load over time, its latencies, its servers.

    Raises:
        InvalidValue: the file cannot be written.
    """
    check_plot_file(path)
    import vl_convert  # noqa: PLC0415 - large, and in an extra

    spec = json.dumps(chart(answer, seen))
    with whole_file(path, "plot") as part:
        if path.suffix.lower() == ".png":
            part.write_bytes(vl_convert.vegalite_to_png(spec, scale=_SCALE))
            return
        picture = vl_convert.vegalite_to_svg(spec)
        if path.suffix.lower() == ".html":
            picture = _page(picture, _title(answer))
        part.write_text(picture, encoding="utf-8", newline="\n")


def chart(answer: Simulation, seen: Records) -> dict[str, Json]:
    """Return the Vega-Lite chart of a run."""
    panels: list[Json] = []
    if answer.over_time is not None:
        times = np.array(answer.over_time.time_s)
        for name, title, unit in _PANELS:
            values = np.array(getattr(answer.over_time, name)) * unit
            panels.append(_panel("area", (times, "time (s)"), (values, title)))
    for name, times_s in (("TTFT", seen.ttft_s), ("TPOT", seen.tpot_s), ("E2E", seen.e2e_s)):
        felt = quantiles(times_s, _SHARES.tolist()) / MILLI
        axis = f"{name} (ms)"
        panels.append(_panel("line", (felt, axis), (100.0 * _SHARES, "requests within (%)")))
    at = answer.decode_by_context
    if at:
        labels = [f"{one.context_tokens:,}+" for one in at]
        rates = np.array([one.output_tokens_per_s for one in at])
        panels.append(_bars(labels, "context (tokens)", rates, "decode tokens/s of a server"))
    servers = (("prefill ", answer.prefill_servers), ("", answer.servers))
    named = [(f"{pool}{one.server}.{one.rank}", one) for pool, each in servers for one in each]
    if len(named) > 1:
        busy = np.array([100.0 * one.utilization for _, one in named])
        panels.append(_bars([name for name, _ in named], "server.rank", busy, "busy (%)"))
    return {
        "$schema": _SCHEMA,
        "title": {"text": _title(answer), "anchor": "start"},
        "background": "white",
        "concat": panels,
        "columns": 2,
        "spacing": 24,
    }


def _title(answer: Simulation) -> str:
    return (
        f"{answer.num_requests:,} requests in {answer.duration_s:,.0f} s: "
        f"TTFT p95 {answer.ttft_ms.p95:,.0f} ms, ITL p95 {answer.itl_ms.p95:,.1f} ms, "
        f"{answer.output_tokens_per_s:,.0f} output tokens/s"
    )


def _panel(mark: str, x: tuple[Array, str], y: tuple[Array, str]) -> Json:
    rows: list[Json] = [
        {"x": float(a), "y": float(b)} for a, b in zip(x[0].tolist(), y[0].tolist(), strict=True)
    ]
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "data": {"values": rows},
        "mark": {"type": mark, "line": mark == "area", "opacity": 0.4 if mark == "area" else 1.0},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "title": x[1]},
            "y": {"field": "y", "type": "quantitative", "title": y[1]},
        },
    }


def _bars(names: list[str], x: str, values: Array, y: str) -> Json:
    rows: list[Json] = [
        {"x": a, "y": float(b)} for a, b in zip(names, values.tolist(), strict=True)
    ]
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "data": {"values": rows},
        "mark": "bar",
        "encoding": {
            "x": {"field": "x", "type": "ordinal", "title": x, "sort": None},
            "y": {"field": "y", "type": "quantitative", "title": y},
        },
    }


def _page(picture: str, title: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<body>\n{picture}\n</body>\n</html>\n"
    )
