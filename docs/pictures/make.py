"""Takes the picture of the page in the README: `python docs/pictures/make.py` (needs affetto[dev] and Chromium)."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from playwright.sync_api import sync_playwright

import affetto

HERE = Path(__file__).parent
DEMO = Path(affetto.__file__).parent / "demo"
PARTIES = (("happy", 0), ("neutral", 1), ("angry", 0), ("sad", 1))
WIDTH, HEIGHT, COLOURS = 1000, 760, 224


def call() -> bytes:
    """The bundled recordings in turn, of two parties with a channel each."""
    parts = []
    for name, party in PARTIES:
        samples, rate = soundfile.read(DEMO / f"{name}.flac")
        parts.append(np.stack([samples * (party == channel) for channel in (0, 1)], axis=1))
    content = io.BytesIO()
    soundfile.write(content, np.concatenate(parts), rate, format="WAV")
    return content.getvalue()


def main() -> None:
    """Serves the page, lets it recognise the call, and keeps what can be seen."""
    command = [sys.executable, "-m", "affetto", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        address = next(found[0] for line in service.stderr if (found := re.search(r"http://\S+", line)))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(address)
            page.check(".separate")
            page.set_input_files(".file", {"name": "call.wav", "mimeType": "audio/wav", "buffer": call()})
            page.wait_for_selector("main[data-state=done]")
            picture = page.screenshot(full_page=True)
            browser.close()
        service.terminate()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(HERE / "page.png", optimize=True)


if __name__ == "__main__":
    main()
