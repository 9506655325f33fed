"""The dashboard in Chromium: a person asks, reads the answer, and shares the address."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE_S = 60
PATIENCE_MS = 60_000


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(address: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with urlopen(address, timeout=5):  # noqa: S310 - our own server
                return
        except (URLError, OSError):
            time.sleep(0.2)
    pytest.fail("the dashboard did not start")


@pytest.fixture(scope="module")
def dashboard() -> Iterator[str]:
    """Start `fitcalc dashboard` and return its address."""
    port = free_port()
    command = [sys.executable, "-m", "fitcalc", "dashboard", "--no-open", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_a_person_plans_and_shares_the_address(dashboard: str) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1600})
        page.goto(f"{dashboard}/?model=70b&gpu=h100_sxm&quantization=fp8")
        answer = page.get_by_test_id("stMetricValue").first
        answer.wait_for(timeout=PATIENCE_MS)
        before = answer.inner_text()

        rate = page.get_by_label("Requests per second")
        rate.fill("60")
        rate.press("Enter")
        page.wait_for_url("**qps=60*", timeout=PATIENCE_MS)
        api.expect(answer).not_to_have_text(before, timeout=PATIENCE_MS)
        after = answer.inner_text()
        shown = ROOT / "build"
        shown.mkdir(exist_ok=True)
        page.screenshot(path=shown / "dashboard.png", full_page=True)

        other = browser.new_page()
        other.goto(page.url)
        shared = other.get_by_test_id("stMetricValue").first
        shared.wait_for(timeout=PATIENCE_MS)
        assert shared.inner_text() == after
        assert int(after) > int(before)
        browser.close()
