"""The dashboard as a real server, and a real browser to look at it with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
Served = tuple[subprocess.Popen[bytes], int]
needs_browser = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()), reason="needs Debian's chromium and chromium-driver"
)
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def served(
    module: Sequence[str], port_option: str, port: int | None = None, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `python -m MODULE` on a free port until the block ends; yields process and port once it answers.

    Args:
        module: module and arguments.
        port_option: the option that names the port, such as `--port=`.
        port: which, if not any.
        environment: variables to add.
    """
    port = free_port() if port is None else port
    command = [sys.executable, "-m", *module, f"{port_option}{port}"]
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment}
    server = subprocess.Popen(command, start_new_session=True, env=variables)
    try:
        answering(f"http://127.0.0.1:{port}/_stcore/health")
        yield server, port
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


@contextmanager
def beside(command: Sequence[str], health: str, **how: Any) -> Iterator[None]:
    """Run another server until the block ends, which begins once it answers at an address."""
    server = subprocess.Popen(command, **how)
    try:
        answering(health)
        yield
    finally:
        server.terminate()
        server.wait(timeout=60)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def answering(address: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + 180
    while True:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.2)


def waiting(driver: Any) -> Any:
    """Return what waits for a page; one that is still being built takes elements away again, once they were found."""
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 120, ignored_exceptions=[WebDriverException])


@contextmanager
def browser(profile: Path, width: int = 1280) -> Iterator[Any]:
    """Open headless Chromium with a profile folder of its own; yields Selenium's driver."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},1400"):
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER))) as driver:
        yield driver
