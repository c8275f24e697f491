"""The dashboard's address: it names the study, so that links show the same one, and is for this machine only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from served import browser, needs_browser, served, waiting
from states import make

pytestmark = pytest.mark.xdist_group(name="browser")
APP = Path(__file__).parents[2] / "dashboard" / "app.py"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Serve a finished study as a bare `streamlit run` does: without the flags of `autorl dashboard`."""
    spec = make("finished", tmp_path_factory.mktemp("bare"))
    command = ["streamlit", "run", str(APP), "--server.headless=true"]
    with served(command, "--server.port=", AUTORL_STORAGE=spec.storage) as (_, port):
        yield port


def test_only_this_machine_can_reach_it(port: int) -> None:
    listening = [c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
    assert listening == ["127.0.0.1"]


@needs_browser
def test_the_address_names_the_study_on_every_page(port: int, tmp_path: Path) -> None:

    with browser(tmp_path) as driver:
        driver.get(f"http://127.0.0.1:{port}")
        wait = waiting(driver)
        wait.until(lambda d: d.current_url == f"http://127.0.0.1:{port}/?study=small")
        # A click while the page is still being built is lost to the elements that replace those it fell on.
        wait.until(lambda d: d.find_elements("css selector", ".js-plotly-plot .main-svg"))
        driver.find_element("partial link text", "Seeds").click()
        wait.until(lambda d: d.current_url == f"http://127.0.0.1:{port}/seeds?study=small")
        wait.until(lambda d: d.find_elements("css selector", ".js-plotly-plot .main-svg"))
