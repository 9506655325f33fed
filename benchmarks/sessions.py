"""Visitors of the dashboard without a browser: Streamlit's messages over a websocket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import count, cycle, islice
from typing import Final
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.views import VIEWS, View

_LARGEST: Final = 50_000_000
"""Of one message. [B]"""


class Session:
    """One visitor: a socket, and the widgets that it was shown."""

    def __init__(self, socket: WebSocketClientConnection, link: str) -> None:
        """Start with nothing shown."""
        self._socket = socket
        self._page = urlsplit(link)
        self._states: dict[str, WidgetState] = {}

    @classmethod
    async def opened(cls, address: str, link: str) -> Session:
        """Open a view by its link and wait for its answer."""
        where = f"ws://{urlsplit(address).netloc}/_stcore/stream"
        session = cls(await websocket_connect(where, max_message_size=_LARGEST), link)
        await session._run()
        return session

    async def change(self, label: str, value: str) -> float:
        """Change a field; return how long the answer took. [s]"""
        state = self._states[label]
        if state.WhichOneof("value") == "string_value":
            state.string_value = value
        else:
            state.double_value = float(value)
        start = time.perf_counter()
        await self._run()
        return time.perf_counter() - start

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    async def _run(self) -> None:
        """Ask for a run and read until it ends.

        Raises:
            SystemExit: the script failed.
        """
        asked = BackMsg()
        asked.rerun_script.query_string = self._page.query
        asked.rerun_script.page_name = self._page.path.strip("/")
        asked.rerun_script.widget_states.widgets.extend(self._states.values())
        await self._socket.write_message(asked.SerializeToString(), binary=True)
        while True:
            said = await self._socket.read_message()
            if not isinstance(said, bytes):
                raise SystemExit("the server closed a session")
            message = ForwardMsg.FromString(said)
            if ended(message):
                return
            if message.delta.new_element.WhichOneof("type") == "exception":
                raise SystemExit(message.delta.new_element.exception.message)
            self._learn(message)

    def _learn(self, message: ForwardMsg) -> None:
        """Remember a field and what it holds."""
        element = message.delta.new_element
        kind = element.WhichOneof("type")
        if kind == "text_input":
            text = element.text_input
            self._states[text.label] = WidgetState(
                id=text.id, string_value=text.value or text.default
            )
        elif kind == "number_input":
            number = element.number_input
            self._states[number.label] = WidgetState(
                id=number.id, double_value=number.value or number.default
            )


def ended(message: ForwardMsg) -> bool:
    """Say whether a message is that the page's script has run to its end."""
    early = ForwardMsg.FINISHED_EARLY_FOR_RERUN
    return message.WhichOneof("type") == "script_finished" and message.script_finished != early


def crowd_views(visitors: int) -> list[View]:
    """Return the view of each visitor: those with a field, in turn."""
    return list(islice(cycle([view for view in VIEWS if view.widget]), visitors))


def values(view: View, nth: int) -> Iterator[str]:
    """Return what a visitor changes a view's field to; no other asks for the same number."""
    first = view.values[0]
    return (str(n) for n in count(int(first) + 10 * nth)) if first.isdigit() else cycle(view.values)


async def crowd(address: str, visitors: int, lasts_s: float, thinks_s: float) -> list[float]:
    """Let visitors change fields of every view; return how long answers took. [s]"""
    views = crowd_views(visitors)
    sessions = [await Session.opened(address, address + view.link) for view in views]

    async def stay(nth: int) -> list[float]:
        session, view = sessions[nth], views[nth]
        await asyncio.sleep(thinks_s * nth / visitors)
        new, took, end = values(view, nth), [], time.perf_counter() + lasts_s
        while time.perf_counter() < end:
            took.append(await session.change(view.widget, next(new)))
            await asyncio.sleep(thinks_s)
        session.close()
        return took

    return [one for each in await asyncio.gather(*map(stay, range(visitors))) for one in each]
