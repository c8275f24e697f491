"""The dashboard in a real browser: every page opens, draws, and fits a wide and a narrow window."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from states import make

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM.exists() and DRIVER.exists()), reason="needs Debian's chromium and chromium-driver"
    ),
    pytest.mark.xdist_group(name="browser"),
]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = {"": "small", "trials": "Trials", "curves": "Learning curves", "seeds": "Seeds"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a finished study with the real command."""
    spec = make("finished", tmp_path_factory.mktemp("served"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "autorl",
        "dashboard",
        "--headless",
        "--port",
        str(port),
        "--storage",
        spec.storage,
    ]
    tests = str(Path(__file__).parents[1])
    server = subprocess.Popen(command, start_new_session=True, env={**os.environ, "PYTHONPATH": tests})
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the dashboard did not start"
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=20)


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_opens_and_draws(address: str, width: int, tmp_path: Path) -> None:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path}/profile", f"--window-size={width},1400"):
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER))) as browser:
        for page, title in PAGES.items():
            browser.get(f"{address}/{page}")
            wait = WebDriverWait(browser, 40)
            wait.until(lambda b, t=title: t in [e.text for e in b.find_elements(By.TAG_NAME, "h1")])
            drawn = "canvas" if page == "trials" else ".js-plotly-plot .main-svg"
            wait.until(lambda b, d=drawn: b.find_elements(By.CSS_SELECTOR, d))
            assert not browser.find_elements(By.CSS_SELECTOR, '[data-testid="stException"]')
            shots = os.environ.get("AUTORL_SCREENSHOTS")
            if shots:
                time.sleep(1.5)
                browser.save_screenshot(f"{shots}/{page or 'overview'}-{width}.png")
