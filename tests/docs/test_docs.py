"""What the documentation says is so: every block of code is run by a test, the reference is whole, links lead on."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pages import BENCHMARKS, PAGES, ROOT, block, blocks, lines

from autorl.engine.check import check
from autorl.plugins import names
from autorl.spec.curriculum import KINDS
from autorl.spec.load import draft_study

MODEL = """

class Model:
    def __init__(self, config, seed):
        self.steps, self.value = 0, config.get("learning_rate", 0.0) * 100 + seed

    def load(self, file):
        self.steps = int(file.read_text())

    def train(self, steps):
        self.steps += steps

    def save(self, file):
        file.write_text(str(self.steps))


make = Model


def evaluate(model, episodes):
    return model.value + model.steps / 1e4
"""


RUN_BY = {  # each kind of block; of shells, by the command; of Python, by the page
    "yaml": ("docs/test_pages_studies.py", "execution/test_ray.py"),
    "toml": ("dashboard/test_dashboard_login.py",),
    "nginx": ("dashboard/test_dashboard_proxy.py",),
    "autorl": ("docs/test_commands.py", "docs/test_clone.py", "dashboard/test_dashboard_browser.py"),
    "make": ("docs/test_clone.py",),
    "source": ("docs/test_clone.py",),
    "pip": ("docs/test_clone.py", "docs/test_benchmarks.py"),
    "python": ("docs/test_clone.py",),
    "docker": ("docs/test_docker.py", "dashboard/test_dashboard_proxy.py"),
    ".venv/bin/python": ("docs/test_benchmarks.py",),
    "OMP_NUM_THREADS=1": ("docs/test_benchmarks.py",),
    "tutorial.md": ("docs/test_clone.py",),
    "programs.md": ("docs/test_docs.py",),
    "export.md": ("report/test_export_data.py",),
}
MISTAKEN = """\
study: mine
task: {env: CartPole-v1}
algorithm: {name: pppo}
search_space: {parameters: {learning_rate: {min: 1e-5, max: 1e-2, log: true}}}
budget: {trials: 4, steps_per_run: 1000}
seeds: {tuning: 0:3, test: 2:5}
"""


def test_every_block_is_of_a_kind_that_a_test_runs() -> None:
    every = [*PAGES, BENCHMARKS, ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"]
    kinds = {kind for page in every for kind in re.findall(r"^ *```(\w+)", page.read_text(), re.MULTILINE)}
    shell = [text for kind in ("bash", "console") for _, text in blocks(kind, *every)]
    program = block("bash", BENCHMARKS, "landscape_space")  # of two lines
    found = kinds - {"bash", "console", "python"}
    found |= {line.split()[0] for text in shell if text != program for line in lines(text)}
    found |= {name.rpartition("-")[0] for name, _ in blocks("python", *every)}
    assert found == set(RUN_BY)
    assert all((ROOT / "tests" / file).exists() for files in RUN_BY.values() for file in files)


def test_mistakes_are_shown_as_the_readme_says(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mine.yaml").write_text(MISTAKEN)
    command = [sys.executable, "-m", "autorl", "validate", "studies/mine.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, block("", ROOT / "README.md", "mine.yaml"))


def test_optimizers_that_a_page_names_are_accepted(tmp_path: Path) -> None:
    found = {text for page in PAGES for text in re.findall("`(optimizer: {[^`…]*})`", page.read_text(encoding="utf-8"))}
    assert "optimizer: {name: tpe, seeds: 1, pruner: {name: median}}" in {" ".join(text.split()) for text in found}
    for text in found:
        (tmp_path / "study.yaml").write_text(f"{MISTAKEN.replace('pppo', 'ppo').replace('2:5', '5:8')}{text}\n")
        check(draft_study(tmp_path / "study.yaml"))


def test_a_function_and_its_study_are_tuned_as_the_page_says(tmp_path: Path) -> None:
    page = ROOT / "docs" / "programs.md"
    function, session = (text for _, text in blocks("python", page))
    (tmp_path / "own_loop.py").write_text(function + MODEL)
    study = block("yaml", page, "function: own_loop:train")
    (tmp_path / "own-loop.yaml").write_text(study)
    subprocess.run([sys.executable, "-c", session], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def site_pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("site_pages")


def test_the_reference_is_that_of_the_schema(site_pages: Any) -> None:
    written = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert written == site_pages.reference(), "run: make docs"


def test_the_reference_has_what_curricula_and_optimizers_take() -> None:
    parts = re.split("^##+ ", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = {heading: text for heading, _, text in (part.partition("\n") for part in parts)}
    named = {name for heading in sections for name in re.findall(r"`(\w+)`", heading)}
    assert named == {*KINDS, *names("autorl.optimizers")}
    assert "| `truncate` | a whole number ≥ 1 | `100` |" in sections["`snapshots`"]
    assert "| `searcher` | text | **required** |" in sections["`ray`"]
    assert "| `trials` | a whole number > 0 ≤ 1,000,000 |  |" in sections["budget"]
    assert "| `percentile` |" in sections["Pruners"]
    assert "``" not in "".join(parts)


def test_the_site_is_built_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", ".mkdocs.yml"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    made = subprocess.run(
        [*build, "--site-dir", str(tmp_path / "site")], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    pages = [f"{page.stem}/index.html" for page in PAGES if page.parent.name == "docs" and page.stem != "index"]
    for page in ("index.html", "benchmarks/index.html", *pages):
        html = (tmp_path / "site" / page).read_text(encoding="utf-8")
        article = html.partition("<article")[2].partition("</article>")[0]
        for target in re.findall(r'(?:href|src)="(?!https?://|#)([^"#]*)', article):
            found = (tmp_path / "site" / page).parent / target
            assert found.is_file() or (found / "index.html").is_file(), f"{page}: {target}"
    assert (tmp_path / "site" / "files" / "autorl" / "optimizers" / "protocol.py").exists()


def test_links_to_what_the_site_has_not_become_plain_text(site_pages: Any) -> None:
    text = "[all](../search_spaces), [how](../ARCHITECTURE.md#x), [TPE](../benchmarks/README.md#livepy)"
    assert site_pages.on_page_markdown(text) == "all, how, [TPE](benchmarks.md#livepy)"
    assert site_pages.on_page_markdown("![a](../docs/images/b.png)") == "![a](images/b.png)"


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "benchmarks" / "README.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_to_files_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith(("http://", "https://")) or (page.parent / target).exists(), target
