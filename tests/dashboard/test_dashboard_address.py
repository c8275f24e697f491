"""The dashboard's address: it names the study, so that links show the same one, and is for this machine only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from states import make

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Serve a finished study as a bare `streamlit run` does: without the flags of `autorl dashboard`."""
    spec = make("finished", tmp_path_factory.mktemp("bare"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    app = Path(__file__).parents[2] / "dashboard" / "app.py"
    command = [sys.executable, "-m", "streamlit", "run", str(app)]
    command += ["--server.headless=true", f"--server.port={port}"]
    # In its own session, so that all of it ends.
    server = subprocess.Popen(command, start_new_session=True, env={**os.environ, "AUTORL_STORAGE": spec.storage})
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the dashboard did not start"
                time.sleep(0.2)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=20)


def test_only_this_machine_can_reach_it(port: int) -> None:
    listening = [c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
    assert listening == ["127.0.0.1"]


@pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason="needs Debian's chromium and chromium-driver")
def test_the_address_names_the_study_on_every_page(port: int, tmp_path: Path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path}/profile", "--window-size=1280,1400"):
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER))) as browser:
        browser.get(f"http://127.0.0.1:{port}")
        wait = WebDriverWait(browser, 40)
        wait.until(lambda b: b.current_url == f"http://127.0.0.1:{port}/?study=small")
        link = wait.until(lambda b: b.find_elements("partial link text", "Seeds"))
        link[0].click()
        wait.until(lambda b: b.current_url == f"http://127.0.0.1:{port}/seeds?study=small")
        wait.until(lambda b: b.find_elements("css selector", ".js-plotly-plot .main-svg"))
