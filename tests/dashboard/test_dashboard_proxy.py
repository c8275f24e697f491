"""The dashboard behind nginx, set up as the page about operations says."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pages import ROOT, block, lines
from served import beside, browser, free_port, needs_browser, served, waiting
from states import make

PAGE = ROOT / "docs" / "operations.md"
SECRET = "a-secret-of-some-length"
AROUND = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    proxy_max_temp_file_size 0;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


@contextmanager
def proxied(behind: int, folder: Path) -> Iterator[int]:
    """Run nginx with the page's words before a server; yields its port."""
    location = block("nginx", PAGE)
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(AROUND.format(folder=folder, port=port, location=location.replace("8501", str(behind))))
    command = ["nginx", "-e", str(folder / "error.log"), "-c", str(config)]
    with beside(command, f"http://127.0.0.1:{port}/_stcore/health"):
        yield port


@needs_browser
@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
@pytest.mark.xdist_group(name="browser")
def test_visitors_with_the_token_see_the_study_through_the_proxy(tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    (line,) = lines(block("bash", PAGE, "docker run"))
    words = shlex.split(line)
    inside = words[words.index("autorl") + 1 :]  # what the image's entry point, autorl, is given
    storage = make("finished", tmp_path).storage
    with (
        served(["autorl", *inside], "--port=", AUTORL_STORAGE=storage, AUTORL_DASHBOARD_TOKEN=SECRET) as (_, behind),
        proxied(behind, tmp_path) as port,
        browser(tmp_path / "profile") as driver,
    ):
        wait = waiting(driver)
        driver.get(f"http://127.0.0.1:{port}")
        asked = wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, 'input[type="password"]'))
        asked[0].send_keys(SECRET, Keys.ENTER)
        wait.until(lambda d: [e for e in d.find_elements(By.TAG_NAME, "h1") if "small" in e.text])
        assert not driver.find_elements(By.CSS_SELECTOR, '[data-testid="stException"]')
