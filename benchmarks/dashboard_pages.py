"""How soon does each page of the dashboard show its first figure in a real browser, and how much memory does it take?

    python benchmarks/make_ledger.py large.db
    python benchmarks/dashboard_pages.py large.db

Needs Chromium and its driver, as the browser tests do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import psutil
from selenium.webdriver.common.by import By

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from served import browser, served

PAGES = ("", "seeds", "sensitivity", "curves", "trials", "pareto", "reproduce")
SHOWN = ".js-plotly-plot .main-svg, [data-testid=stDataFrame] canvas"
PATIENCE_SECONDS = 120


def main() -> None:
    """Open every page twice, in a server that has just been started."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="SQLite file, as make_ledger.py makes it")
    parser.add_argument("--study", default="large")
    arguments = parser.parse_args()
    command = ["autorl", "dashboard", "--headless", "--storage", f"sqlite:///{arguments.file.resolve()}"]
    with (
        served(command, "--port=") as (server, port),
        tempfile.TemporaryDirectory() as profile,
        browser(Path(profile)) as driver,
    ):
        print(f"{'page':12s} {'cold':>8} {'warm':>8}   seconds to the first figure or table")
        cold = [_seconds(driver, f"http://127.0.0.1:{port}/{page}?study={arguments.study}") for page in PAGES]
        warm = [_seconds(driver, f"http://127.0.0.1:{port}/{page}?study={arguments.study}") for page in PAGES]
        for page, first, second in zip(PAGES, cold, warm, strict=True):
            print(f"{page or 'overview':12s} {first:>8.2f} {second:>8.2f}")
        print(f"memory of the server: {psutil.Process(server.pid).memory_info().rss / 2**20:.0f} MiB")


def _seconds(driver, address: str) -> float:  # type: ignore[no-untyped-def]
    began = time.monotonic()
    driver.get(address)
    while not driver.find_elements(By.CSS_SELECTOR, SHOWN):
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise SystemExit(f"{address} shows nothing after {PATIENCE_SECONDS} s")
        time.sleep(0.02)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
