"""What a server's memory holds: the question as widgets, and its answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import streamlit as st

from fitcalc import EngineArgs
from fitcalc.answers import Rejection
from fitcalc.catalog.formats import kv_format_ids
from fitcalc.inputs.engine import default_gpu_memory_utilization
from fitcalc.planning.fit_answers import FitAnswers, answers
from fitcalc.planning.fits import Ask, Room, ask, concurrency_at
from fitcalc.units import parse_bytes, parse_tokens
from server import Server, ask_server
from share import command

_LINK: Final = "query-params"
_AUTO = "auto"
_WIDTHS = (1, 2, 4, 8, 16, 32, 64)
_SHORTEST = 1024
"""The heat map's shortest context. [tokens]"""
_MOST_USERS = 4096


@dataclass(frozen=True, slots=True)
class Held:
    """A server, and what is asked of its memory; ``reserved`` as typed."""

    server: Server
    context: int
    concurrency: int
    reserved: str

    def command(self) -> str:
        """Return the command line that asks the same."""
        asked = [("ctx", str(self.context)), ("concurrency", str(self.concurrency))]
        kept = [("reserved", self.reserved)] if self.reserved else []
        return command("fit", [*self.server.flags(), *asked, *kept, ("what-if", "")])

    def python(self) -> str:
        """Return the calls in Python that ask the same."""
        kept = f", reserved_bytes={self._reserved():.0f}" if self.reserved else ""
        return "\n".join((
            "from fitcalc import EngineArgs",
            "from fitcalc.planning.fit_answers import answers",
            "from fitcalc.planning.fits import ask\n",
            f"question = ask({self.server.python()}{kept})",
            "found = answers(",
            f"    question, context={self.context}, concurrency={self.concurrency}, what_if=True",
            ")",
        ))  # fmt: skip

    def question(self) -> Ask:
        """Return the question.

        Raises:
            FitcalcError: a name is unknown or a value makes no sense.
        """
        server = self.server
        return ask(server.model, server.gpu, server.engine, reserved_bytes=self._reserved())

    def _reserved(self) -> float:
        return parse_bytes(self.reserved, "reserved") if self.reserved else 0.0


class Cell(NamedTuple):
    """So many users at a context.

    Attributes:
        context: Tokens of each request, prompt and answer. [tokens]
        users: Requests that would run at once. [1]
        room: How many do, and what limits them; ``None`` where the model does not fit.
    """

    context: int
    users: int
    room: Room | None


def answer(held: Held) -> tuple[FitAnswers, tuple[Cell, ...]]:
    """Answer; a function, so that its answers can be kept.

    Raises:
        FitcalcError: the question makes no sense; the message is one sentence.
    """
    question = held.question()
    found = answers(question, context=held.context, concurrency=held.concurrency, what_if=True)
    return found, tuple(_cells(question, held))


def _cells(question: Ask, held: Held) -> list[Cell]:
    """Return the heat map's cells: doubling contexts and users, and those that were asked for."""
    longest = question.engine.max_model_len or question.model.max_position_embeddings
    contexts = sorted({*_doubling(min(_SHORTEST, longest), longest), min(held.context, longest)})
    rooms = [(context, concurrency_at(question, context)) for context in contexts]
    most = max((room.concurrency for _, room in rooms if isinstance(room, Room)), default=0.0)
    users = sorted({*_doubling(1, min(max(int(2 * most), 1), _MOST_USERS)), held.concurrency})
    return [
        Cell(context, many, None if isinstance(room, Rejection) else room)
        for context, room in rooms
        for many in users
    ]


def _doubling(first: int, last: int) -> list[int]:
    found = [first]
    while found[-1] * 2 <= last:
        found.append(found[-1] * 2)
    return found


def ask_held() -> Held:
    """Draw the sidebar and the levers above the answer; return the question they hold.

    Raises:
        FitcalcError: a setting makes no sense; the message is one sentence.
    """
    with st.sidebar:
        server = ask_server(levers=False)
        st.subheader("Requests", anchor=False)
        ctx = st.text_input(
            "Context (tokens)", "8k", key="ctx", bind=_LINK,
            help="Prompt and answer together; 8k = 8192.",
        )  # fmt: skip
        many = st.number_input("Requests at once", 1, 1_000_000, 16, key="concurrency", bind=_LINK)
        reserved = st.text_input(
            "Memory that others keep", key="reserved", bind=_LINK,
            help="Of each card, by other processes: 4GiB; empty: none.",
        )  # fmt: skip
    server = replace(server, engine=server.engine.replace(**_levers(server.engine)))
    return Held(server, parse_tokens(ctx, "ctx"), many, reserved.strip())


def _levers(engine: EngineArgs) -> dict[str, object]:
    """Ask for what moves memory most; what vLLM would choose anyway is left out."""
    usual = default_gpu_memory_utilization(engine.version)
    first, second, third = st.columns(3)
    share = first.slider(
        "Share of memory for vLLM", 0.5, 1.0, usual, 0.01, key="gpu-memory-utilization",
        bind=_LINK, help="gpu_memory_utilization",
    )  # fmt: skip
    tp = second.select_slider(
        "GPUs a server", _WIDTHS, 1, key="tp", bind=_LINK, help="tensor_parallel_size"
    )
    kv = third.selectbox(
        "KV cache format", (_AUTO, *kv_format_ids()), key="kv-cache-dtype", bind=_LINK
    )
    said = {
        "gpu_memory_utilization": None if share == usual else share,
        "tensor_parallel_size": None if tp == 1 else tp,
        "kv_cache_dtype": None if kv == _AUTO else kv,
    }
    return {name: value for name, value in said.items() if value is not None}
