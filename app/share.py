"""What leaves a page: the same question as a command and in Python, and files to take along."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import altair as alt
import pandas as pd
import streamlit as st

from drawn import drawn

_MARKS: Final = re.compile(r"[\\`*$\[\]]")


@dataclass(frozen=True, slots=True)
class Download:
    """A file that a button hands out; what takes long to write is written on the click."""

    label: str
    name: str
    text: str | bytes | Callable[[], str | bytes]
    mime: str = "text/plain"


def command(name: str, flags: Sequence[tuple[str, str]]) -> str:
    """Return the command line of some options; an empty value is a switch.

    Examples:
        >>> command("plan", [("model", "70b"), ("verify", "")])
        'fitcalc plan --model 70b --verify'
    """
    words = [word for flag, value in flags for word in (f"--{flag}", value) if word]
    return shlex.join(["fitcalc", name, *words])


def zipped(files: Mapping[str, str]) -> bytes:
    """Pack files, the same bytes at any time."""
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as into:
        for name, text in files.items():
            into.writestr(ZipInfo(name), text, ZIP_DEFLATED)
    return packed.getvalue()


def show_share(line: str, python: str, files: Sequence[Download] = ()) -> None:
    """Show the same question on the command line and in Python, and the files."""
    st.subheader("Take it along", anchor=False)
    shell, code = st.columns(2)
    with shell:
        st.caption("The same on the command line")
        show_code(line)
    with code:
        st.caption("The same in Python")
        show_code(python)
    with st.container(horizontal=True):
        for file in files:
            st.download_button(
                file.label, file.text, file.name, file.mime, key=f"get-{file.name}",
                on_click="ignore",
            )  # fmt: skip


def show_chart(chart: alt.typing.ChartType, frame: pd.DataFrame, name: str) -> None:
    """Show a chart, and hand out its rows as CSV."""
    st.altair_chart(drawn(chart), key=f"chart-{name}")
    show_rows(frame, name)


def show_rows(frame: pd.DataFrame, name: str) -> None:
    """Hand out rows as CSV."""
    st.download_button(
        "Rows as CSV", frame.to_csv(index=False), f"{name}.csv", "text/csv", key=f"csv-{name}",
        on_click="ignore", type="tertiary",
    )  # fmt: skip


def show_code(text: str) -> None:
    """Show code to copy; Streamlit's colours of its words are too faint to read."""
    st.code(text, language=None, wrap_lines=True)


def plain(text: str) -> str:
    """Keep Markdown from making mathematics, code, links or images of words, a visitor's too."""
    return _MARKS.sub(r"\\\g<0>", text)
