"""Make docs/images: each view of the dashboard, on a laptop by day and on a phone by night."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from PIL import Image
from playwright.sync_api import sync_playwright

from fitcalc.units import KIB
from tests.views import VIEWS, chromium, opened, served, shoot, visit

IMAGES: Final = Path(__file__).parent / "images"
LOOKS: Final[tuple[tuple[int, Literal["light", "dark"]], ...]] = ((1280, "light"), (390, "dark"))
SHOWN: Final = {"plan": "/", "traffic": "/traffic"}
"""Links that show more than those of the tests."""
HEIGHT: Final = 1400
MOST_BYTES: Final = 150 * KIB


def main() -> None:
    """Open each view, and save what it shows in 256 colours."""
    with served() as (address, _), sync_playwright() as play:
        browser = chromium(play)
        for view in VIEWS:
            for width, scheme in LOOKS:
                page = visit(browser, width, scheme)
                opened(page, view, address + SHOWN.get(view.name, view.link))
                path = IMAGES / f"{view.name}-{width}-{scheme}.png"
                shoot(page, path, HEIGHT)
                page.close()
                with Image.open(path) as picture:
                    few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
                    few.save(path, optimize=True)
                if path.stat().st_size > MOST_BYTES:
                    raise SystemExit(f"{path} is larger than {MOST_BYTES / KIB:.0f} KiB")
        browser.close()


if __name__ == "__main__":
    main()
