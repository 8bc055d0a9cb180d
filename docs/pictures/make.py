"""Takes the picture of the page in the README: `python docs/pictures/make.py` (needs affetto[dev] and Chromium)."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import affetto

HERE = Path(__file__).parent
RECORDING = Path(affetto.__file__).parent / "demo" / "happy.flac"
WIDTH, HEIGHT, COLOURS = 1000, 760, 224


def main() -> None:
    """Serves the page, lets it recognise a bundled recording, and keeps what can be seen."""
    command = [sys.executable, "-m", "affetto", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        address = next(found[0] for line in service.stderr if (found := re.search(r"http://\S+", line)))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(address)
            page.set_input_files("input[type=file]", RECORDING)
            page.get_by_text("How sure it is").scroll_into_view_if_needed()
            picture = page.screenshot(full_page=True)
            browser.close()
        service.terminate()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(HERE / "page.png", optimize=True)


if __name__ == "__main__":
    main()
