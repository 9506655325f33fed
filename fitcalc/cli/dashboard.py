"""``fitcalc dashboard``: the plan in a browser."""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from importlib.util import find_spec
from typing import Annotated

import typer

from fitcalc.errors import InvalidValue

_START = "Home.py"


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8501,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open a browser window.")
    ] = True,
) -> int:
    """Open the dashboard in a browser; Ctrl-C ends it."""
    if find_spec("streamlit") is None:
        raise InvalidValue("dashboard", "streamlit", "install it with pip install 'fitcalc[app]'")
    shipped = files("fitcalc") / "_app"
    folder = shipped if shipped.is_dir() else files("fitcalc") / ".." / "app"
    command = [sys.executable, "-m", "streamlit", "run", str(folder / _START)]
    command += [f"--server.port={port}", f"--server.address={address}"]
    command += [f"--server.headless={'false' if open_browser else 'true'}"]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - whoever stops this process stops the server
