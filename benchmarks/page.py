"""Measures how soon the page of `affetto serve` can be used, in Chromium: python benchmarks/page.py [--times 5]

Once from the same machine, once as Lighthouse has a telephone: 1.6 Mbit/s, 150 ms there and back, a processor a quarter
as fast. Prints medians of fresh visits, with nothing kept from the one before.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys

from playwright.sync_api import Browser, sync_playwright

WHAT = ("requests", "kB sent", "first paint, ms", "largest paint, ms", "can be used, ms", "layout shift", "blocked, ms")
WATCH = """
window.seen = {paint: 0, shift: 0, blocked: 0};
const watch = (type, take) => new PerformanceObserver((list) => list.getEntries().forEach(take))
  .observe({type, buffered: true});
watch("largest-contentful-paint", (each) => { seen.paint = each.startTime; });
watch("layout-shift", (each) => { seen.shift += each.value; });
watch("longtask", (each) => { seen.blocked += each.duration - 50; });
"""
READ = """() => {
  const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  const bytes = all.reduce((sum, each) => sum + each.transferSize, 0);
  const first = performance.getEntriesByName("first-contentful-paint")[0].startTime;
  return [all.length, bytes / 1000, first, seen.paint, usable, seen.shift, seen.blocked];
}"""
USABLE = "() => document.querySelector('main').dataset.state === 'idle' && (window.usable ??= performance.now())"


def visit(browser: Browser, address: str, *, telephone: bool) -> list[float]:
    """What one visit took, as in `WHAT`."""
    context = browser.new_context(viewport={"width": 412, "height": 823} if telephone else None)
    page = context.new_page()
    if telephone:
        session = context.new_cdp_session(page)
        link = {"latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 750e3 / 8}
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", {"offline": False, **link})
        session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    page.add_init_script(WATCH)
    page.goto(address)
    page.wait_for_function(USABLE, polling=10)
    page.wait_for_load_state("networkidle")
    found: list[float] = page.evaluate(READ)
    context.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "affetto", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service, sync_playwright() as playwright:
        assert service.stderr is not None
        address = next(found[0] for line in service.stderr if (found := re.search(r"http://\S+", line)))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        here, there = (
            [visit(browser, address, telephone=telephone) for _ in range(arguments.times)]
            for telephone in (False, True)
        )
        browser.close()
        service.terminate()
        service.stderr.read()
    print("| | same machine | telephone |\n|---|---:|---:|")
    for name, one, other in zip(WHAT, zip(*here, strict=True), zip(*there, strict=True), strict=True):
        print(f"| {name} | {statistics.median(one):.4g} | {statistics.median(other):.4g} |")


if __name__ == "__main__":
    main()
