"""The dashboard in Chromium: every view opens by its link, answers, and suits every visitor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright.sync_api", reason="the browser's tests need playwright")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.views import (
    CHROMIUM,
    VIEWS,
    View,
    answered,
    change,
    chromium,
    opened,
    served,
    settle,
    shoot,
    visit,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
SHOTS: Final = Path(__file__).parent.parent / "build"
LOOKED_FOR: Final = ("/_stcore/health", "/_stcore/host-config")
"""Where Streamlit looks for its server below a view's own path first, and finds nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        started = chromium(play)
        yield started
        started.close()


def watched(page: Page, address: str) -> list[str]:
    """Return a list that fills with what no page may do: errors and foreign requests."""
    seen: list[str] = []
    home = urlsplit(address).netloc

    def said(message: ConsoleMessage) -> None:
        where = message.location["url"]
        if message.type == "error" and not where.endswith(LOOKED_FOR):
            seen.append(f"{message.text} {where}")

    def sent(url: str) -> None:
        if urlsplit(url).netloc not in {home, ""}:
            seen.append(f"request of {url}")

    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.on("console", said)
    page.on("request", lambda request: sent(request.url))
    page.on("websocket", lambda socket: sent(socket.url))
    return seen


def violations(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical."""
    return [
        f"{rule['id']}: {rule['help']}: {node['html'][:300]} {node['any'][:1]}"
        for rule in Axe().run(page).response["violations"]
        if rule["impact"] in {"serious", "critical"}
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])
def test_a_visitor_opens_changes_shares_and_takes_a_file(
    view: View, address: str, browser: Browser, tmp_path: Path
) -> None:
    page = visit(browser)
    seen = watched(page, address)
    number = opened(page, view, address + view.link)
    before = number.inner_text()
    change(page, view, view.values[0])
    after = answered(number, before)
    assert f"{view.key}={view.values[0]}" in page.url
    with page.expect_download() as taken:
        page.get_by_role("button", name=view.file).first.click()
    file = tmp_path / taken.value.suggested_filename
    taken.value.save_as(file)
    assert file.stat().st_size > 100
    shoot(page, SHOTS / f"{view.name}-1280-light.png")
    assert not violations(page)

    other = visit(browser)
    expect(opened(other, view, page.url)).to_have_text(after)
    other.close()
    page.close()
    assert not seen


@pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])
def test_a_view_suits_a_phone_in_the_dark(view: View, address: str, browser: Browser) -> None:
    page = visit(browser, 390, "dark")
    seen = watched(page, address)
    opened(page, view, address + view.link)
    shoot(page, SHOTS / f"{view.name}-390-dark.png")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    assert not violations(page)
    page.close()
    assert not seen


def test_what_a_link_says_fetches_nothing(address: str, browser: Browser) -> None:
    page = visit(browser)
    seen = watched(page, address)
    page.goto(f"{address}/?model=![x](https://example.org/x.png)")
    page.get_by_test_id("stAlert").wait_for()
    settle(page)
    assert page.locator("img").count() == 0
    page.close()
    assert not seen
