"""What the documentation says is so: commands are there, studies are valid, the tutorial runs, links lead on."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import typer
from landscapes import write_landscape

from autorl.cli.app import app
from autorl.engine.check import check
from autorl.spec.load import draft_study, load_space
from autorl.spec.yaml12 import parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BASE = """\
study: base
task: {env: CartPole-v1}
algorithm: {name: ppo}
search_space: {parameters: {learning_rate: {min: 1e-5, max: 1e-2, log: true}, batch_size: {values: [64, 128]}}}
seeds: {tuning: 0:2, test: 10:12}
budget: {trials: 4, steps_per_run: 1000}
"""
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


def blocks(language: str, *pages: Path) -> Iterator[tuple[str, str]]:
    """Go through the code blocks in a language: where it is, and its text."""
    for page in pages or PAGES:
        text = page.read_text(encoding="utf-8")
        found = re.finditer(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
        for index, match in enumerate(found):
            if match[2] == language:
                yield f"{page.name}-{index}", textwrap.dedent(match[3])


def named(language: str) -> Any:
    found = [*blocks(language)]
    return pytest.mark.parametrize("text", [text for _, text in found], ids=[name for name, _ in found])


@named("yaml")
def test_a_study_in_the_documentation_is_valid(text: str, tmp_path: Path) -> None:
    for folder in ("search_spaces", "studies"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    data = parse(text.encode(), "block").data
    if set(data) == {"parameters"}:
        (tmp_path / "space.yaml").write_text(text)
        assert load_space(tmp_path / "space.yaml")
        return
    base = BASE
    if "program" in data and "algorithm" not in data:
        kind = "command" if "command" in data["program"] else "function"
        base = base.replace("{name: ppo}", f"{{backend: {kind}, name: own}}").replace(
            ", batch_size: {values: [64, 128]}", ""
        )
    if "sets: curriculum." in text:  # these are searched over what the page's first block lets vary
        base += next(block for _, block in blocks("yaml", ROOT / "docs" / "curricula.md"))
        base = base.replace("task: {env: CartPole-v1}\n", "")
    if "env: steps" in text and "algorithm" not in data:
        base = base.replace("{name: ppo}", "{backend: llm, name: grpo}\nobjectives: [{metric: pass_at_1}]")
        base = base.replace(", batch_size: {values: [64, 128]}", "")
    if "trajectories: teacher/trajectories.npz" in text:  # an episode that goes one field to the east
        (tmp_path / "teacher").mkdir()
        env = gym.make(data["task"]["env"])
        seen = [env.reset(seed=0)[0], env.step(2)[0]]
        played = {"seeds": np.array([0]), "lengths": np.array([2]), "actions": np.array([2, 0])}
        np.savez(tmp_path / "teacher" / "trajectories.npz", **played, observations=np.array(seen))
    if "metric: cost" in text and "cost" not in data.get("task", {}):
        base = base.replace("{env: CartPole-v1}", "{env: CartPole-v1, cost: probe_envs:swing}")
    (tmp_path / "base.yaml").write_text(base)
    (tmp_path / "block.yaml").write_text("include: base.yaml\n" + text)
    draft = draft_study(tmp_path / "block.yaml")
    spec = draft.spec()
    if spec.algorithm.backend == "command":
        (tmp_path / data["program"].get("folder", ".")).mkdir(exist_ok=True)
    # A table, a module, a model or a cluster of the reader's own is not here.
    if spec.algorithm.backend not in ("landscape", "function") and spec.algorithm.engine != "trl":
        check(draft)


@named("bash")
def test_a_command_in_the_documentation_is_one(text: str) -> None:
    commands = typer.main.get_command(app)
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        for extra in re.findall(r"autorl\[(\w+)\]", line):
            assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        if words[:2] == ["docker", "run"]:
            words = words[words.index("autorl") :]
        if words[:1] != ["autorl"]:
            continue
        command = commands.commands[words[1]]  # type: ignore[attr-defined]
        command.make_context(words[1], words[2:])


@named("toml")
def test_toml_in_the_documentation_is_toml(text: str) -> None:
    assert tomllib.loads(text)


BENCHMARKS = [line for _, text in blocks("bash", ROOT / "benchmarks" / "README.md") for line in text.splitlines()]


@pytest.mark.parametrize("line", [line for line in BENCHMARKS if "benchmarks/" in line])
def test_a_benchmark_takes_the_options_that_its_page_names(line: str) -> None:
    script = re.findall(r"benchmarks/\w+\.py", line)[0]
    said = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {*re.findall(r"--\w+", line)} <= {*re.findall(r"--\w+", said.stdout)}


def test_a_space_is_made_of_a_table_as_the_page_of_benchmarks_says(tmp_path: Path) -> None:
    (text,) = (text for _, text in blocks("bash", ROOT / "benchmarks" / "README.md") if "landscape_space" in text)
    write_landscape(tmp_path / "table.npz")
    command = text.replace(".venv/bin/python", sys.executable)
    subprocess.run(["bash", "-euc", command], cwd=tmp_path, check=True)
    assert load_space(tmp_path / "space.yaml")


@named("python")
def test_python_in_the_documentation_is_python(text: str) -> None:
    compile(text, "block", "exec")


def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    tutorial = ROOT / "docs" / "tutorial.md"
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": search, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    for _, text in blocks("bash", tutorial):
        subprocess.run(["bash", "-euc", text], cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    for _, text in blocks("python", tutorial):
        subprocess.run([sys.executable, "-c", text], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "curve.csv").read_text().startswith("env_steps,")


def test_a_function_and_its_study_are_tuned_as_the_page_says(tmp_path: Path) -> None:
    page = ROOT / "docs" / "programs.md"
    function, session = (text for _, text in blocks("python", page))
    (tmp_path / "own_loop.py").write_text(function + MODEL)
    study = next(text for _, text in blocks("yaml", page) if "function: own_loop:train" in text)
    (tmp_path / "own-loop.yaml").write_text(study)
    subprocess.run([sys.executable, "-c", session], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_the_reference_is_that_of_the_schema() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import site_pages  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    written = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert written == site_pages.reference(), "run: make docs"


def test_the_site_is_built_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", ".mkdocs.yml"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    made = subprocess.run(
        [*build, "--site-dir", str(tmp_path / "site")], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "site" / "tutorial" / "index.html").exists()


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "benchmarks" / "README.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_to_files_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith(("http://", "https://")) or (page.parent / target).exists(), target
