"""Take the screenshots of the README, light and dark, from a running instance.

    .venv/bin/python scripts/screenshots.py http://127.0.0.1:8000/demo-python/2-res/1042/

writes docs/images/feature-light.png and feature-dark.png. Needs Chromium;
the variable CHROMIUM names another binary.
"""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
SIZE = {"width": 1280, "height": 800}


def main(url: str) -> None:
    """Visit the URL once per colour scheme and save what the window shows."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            page.goto(url, wait_until="networkidle")
            page.screenshot(path=IMAGES / f"feature-{scheme}.png")
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
