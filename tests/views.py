"""The dashboard's views as a visitor uses them: a link, a change, an answer, a file.

A new view is a row of ``VIEWS``: the browser's tests, the benchmark and the screenshots follow.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple
from urllib.error import URLError
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

from playwright.sync_api import Browser, Locator, Page, Playwright, expect

CHROMIUM: Final = shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE_S: Final = 60
_PATIENCE_MS: Final = 60_000
_FRAME_MS: Final = 600
"""Until a chart has drawn itself anew in a window of another height. [ms]"""


class View(NamedTuple):
    """A view, what to change in it, and what then changes."""

    name: str
    link: str
    widget: str  # the label of a field; empty: a choice, whose options are the values
    values: tuple[str, str]  # to change it to, one after the other
    key: str  # of the address, which the change sets
    number: str  # where the figure that answers stands
    file: str  # the button that hands a file out


def _metric(label: str) -> str:
    value = '[data-testid="stMetricValue"]'
    return f'[data-testid="stMetric"]:has-text("{label}") {value} >> nth=0'


VIEWS: Final = (
    View("plan", "/?model=70b&gpu=h100_sxm&quantization=fp8",
         "Requests per second", ("60", "90"), "qps", _metric("GPUs"), "Plan (JSON)"),
    View("fit", "/fit?model=70b&gpu=h200_sxm&quantization=fp8",
         "Context (tokens)", ("16k", "4k"), "ctx", _metric("Users at"), "Fit (JSON)"),
    View("latency", "/latency?model=70b&gpu=h100_sxm&tp=4",
         "Requests per second and server", ("1", "2"), "qps", _metric("First token"),
         "Prediction (JSON)"),
    View("traffic", "/traffic?num-requests=400&qps=4",
         "Requests per second", ("16", "12"), "qps", _metric("First token"), "Answer (JSON)"),
    View("compare", "/compare?model=qwen3-32b&tp=2&model-b=qwen3-32b&gpu-b=b200_sxm",
         "Input tokens (isl)", ("4096", "1024"), "isl", "h3:has-text('times')",
         "Prediction of A (JSON)"),
    View("accuracy", "/accuracy",
         "", ("ttft", "tpot"), "metric", _metric("Mean error"), "Rows as CSV"),
    View("tables", "/tables",
         "Names with", ("h200", "b200"), "find", "text=/^\\d+ rows$/", "Rows as CSV"),
)  # fmt: skip


@contextmanager
def served() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start ``fitcalc dashboard``; give its address and its process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    command = [sys.executable, "-m", "fitcalc", "dashboard", "--no-open", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(f"{address}/_stcore/health")
            yield address, server
        finally:
            server.terminate()


def chromium(play: Playwright) -> Browser:
    """Start Debian's Chromium."""
    return play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def visit(browser: Browser, width: int = 1280, scheme: Literal["light", "dark"] = "light") -> Page:
    """Open an empty page, as wide as a laptop's or a phone's."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(_PATIENCE_MS)
    return page


def opened(page: Page, view: View, link: str) -> Locator:
    """Open a view by a link; return where the figure that answers stands."""
    page.goto(link)
    number = page.locator(view.number)
    number.wait_for()
    settle(page)
    return number


def change(page: Page, view: View, value: str) -> None:
    """Change the view's widget as a visitor does, and wait for the address to say so.

    A default is not said.
    """
    before = page.url
    if view.widget:
        field = page.get_by_label(view.widget, exact=True)
        field.fill(value)
        field.press("Enter")
    else:
        page.get_by_text(value, exact=True).first.click()
    page.wait_for_url(lambda link: link != before)
    assert parse_qs(urlsplit(page.url).query).get(view.key, [value]) == [value]


def answered(number: Locator, before: str) -> str:
    """Wait until a figure is another than before; return it."""
    expect(number).not_to_have_text(before, timeout=_PATIENCE_MS)
    settle(number.page)
    return number.inner_text()


def settle(page: Page) -> None:
    """Wait until the page's script has run to its end."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


def stretch(page: Page, most: int) -> None:
    """Make the window as high as its page, so that nothing is scrolled away."""
    size = page.viewport_size
    assert size is not None
    height = int(page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight"))
    page.set_viewport_size({"width": size["width"], "height": min(height, most)})
    page.wait_for_timeout(_FRAME_MS)


def shoot(page: Page, path: Path, most: int = 6000) -> None:
    """Save a picture of the page, as high as it is. [px]"""
    path.parent.mkdir(parents=True, exist_ok=True)
    stretch(page, most)
    page.screenshot(path=path)


def _wait(address: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with urlopen(address, timeout=5):  # noqa: S310 - our own server
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError("the dashboard did not start")
