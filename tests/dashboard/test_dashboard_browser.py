"""The dashboard in a real browser: every page opens, draws, and fits a wide and a narrow window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from landscapes import write_landscape
from served import browser, needs_browser, served, waiting
from small_study import ignore
from states import make_taught

from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.spec.load import draft_study
from autorl.training.landscape import landscape_space

pytestmark = [needs_browser, pytest.mark.xdist_group(name="browser")]
PAGES = {
    "": "small",
    "seeds": "Seeds",
    "sensitivity": "Sensitivity",
    "curves": "Learning curves",
    "trials": "Trials",
    "pareto": "Trade-offs",
    "compare": "Compare studies",
    "reproduce": "Reproduce",
}
TABLES = ("trials", "reproduce")
"""Pages that show tables and no figure."""


STUDY = """\
study: {name}
task: {{env: table.npz}}
algorithm: {{backend: landscape, name: dqn}}
search_space: space.yaml
seeds: {{tuning: 0:3, test: 3:6}}
budget: {{trials: 12, steps_per_run: 6_000}}
evaluation: {{points: 6}}
optimizer: {{name: {optimizer}, seed: 0}}
execution: {{executor: inline}}
storage: sqlite:///{folder}/study.db
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve two studies that the engine conducted, with the real command."""
    folder = tmp_path_factory.mktemp("served")
    space = landscape_space(write_landscape(folder / "table.npz"))
    (folder / "space.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    for name, optimizer in (("other", "tpe"), ("small", "race")):
        file = folder / f"{name}.yaml"
        file.write_text(STUDY.format(name=name, optimizer=optimizer, folder=folder))
        conduct(check(draft_study(file)), ignore)
    make_taught(folder, "study=taught")
    storage = f"sqlite:///{folder}/study.db"
    with served(["autorl", "dashboard", "--headless", "--storage", storage], "--port=") as (_, port):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.slow)])
def test_every_page_opens_and_draws(address: str, width: int, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    with browser(tmp_path, width) as driver:
        for page, title in PAGES.items():
            driver.get(f"{address}/{page}?study=small")
            wait = waiting(driver)
            wait.until(lambda d, t=title: t in [e.text for e in d.find_elements(By.TAG_NAME, "h1")])
            drawn = "canvas" if page in TABLES else ".js-plotly-plot .main-svg"
            wait.until(lambda d, drawing=drawn: d.find_elements(By.CSS_SELECTOR, drawing))
            assert not driver.find_elements(By.CSS_SELECTOR, '[data-testid="stException"]')
            wide = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"{page or 'overview'} must be scrolled sideways"


@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.slow)])
def test_what_a_curriculum_did_is_drawn(address: str, width: int, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    with browser(tmp_path, width) as driver:
        driver.get(f"{address}/curriculum?study=taught")
        waiting(driver).until(
            lambda d: len(d.find_elements(By.CSS_SELECTOR, ".js-plotly-plot .main-svg .hm, .js-plotly-plot .bars")) >= 3
        )
        assert not driver.find_elements(By.CSS_SELECTOR, '[data-testid="stException"]')
        assert driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_a_link_shows_what_was_chosen(address: str, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    def said(driver: Any) -> str:
        return "\n".join(element.text for element in driver.find_elements(By.TAG_NAME, "h3"))

    with browser(tmp_path) as driver:
        wait = waiting(driver)
        driver.get(f"{address}/sensitivity?study=small&parameter-small=gamma")
        wait.until(lambda d: "On average gamma is best near" in said(d))
        driver.get(f"{address}/curves?study=small&phase-small=test")
        wait.until(lambda d: "on the test seeds is" in said(d))
