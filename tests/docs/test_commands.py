"""The commands of the README and of the documentation's pages, run one after the other as they stand there.

Two differences: a study that a page runs is made small, and does not go into the database of the other pages.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import databases
import optuna
import pytest
import typer
from pages import ROOT, blocks, lines
from small_study import ignore, load, write
from tiny_model import save
from typer.testing import CliRunner

from autorl.cli.app import app
from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.spec.load import draft_study
from autorl.training.llm.suites import make_task

SMALL = (
    "budget={trials: 1, steps_per_run: 64}",
    "seeds={tuning: 0:1, test: 50:52}",
    "evaluation={points: 1, episodes: 4}",
    "optimizer={name: random, seed: 0}",
    "execution={executor: inline}",
)
LANGUAGE = "algorithm.fixed={prompts: 2, max_tokens: 4}"


def commands(page: str) -> Iterator[str]:
    """Go through the commands of a page, but that of the dashboard, which does not end by itself (tests/dashboard)."""
    return (line for line in every_command(ROOT / page) if not line.startswith("autorl dashboard"))


def every_command(*pages: Path) -> Iterator[str]:
    """Go through the commands of pages, of all by default."""
    return (line for _, text in blocks("bash", *pages) for line in lines(text) if line.startswith("autorl "))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the database of studies that have the names of the pages, and files that they speak of."""
    folder = tmp_path_factory.mktemp("commands")
    for name in ("studies", "search_spaces"):
        (folder / name).symlink_to(ROOT / name)
    write(folder).rename(folder / "study.yaml")
    save(folder / "my-model", make_task("steps", {}).characters)
    storage = f"storage=sqlite:///{folder}/autorl.db"
    few = ("task.env=CartPole-v1", "budget={trials: 3, steps_per_run: 64}", "seeds={tuning: 0:1, test: 20:22}")
    traded = "objectives=[{metric: return}, {metric: cpu_seconds, direction: minimize}]"
    for name, optimizer, *more in (
        ("cartpole-ppo", "random"),
        ("cartpole-tpe", "tpe"),
        ("my-study", "random", traded, "budget.trials=5"),
    ):
        asked = (f"study={name}", f"optimizer={{name: {optimizer}, seed: 1}}", storage)
        conduct(load(folder, *few, *asked, *more), ignore)
    recipe = "algorithm.fixed={prompts: 2, max_tokens: 4, sft_steps: 2, sft_batch: 8}"
    draft = draft_study(folder / "studies" / "steps-recipe-search.yaml", (*SMALL, recipe, storage))
    conduct(check(draft), ignore)
    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True), 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for form, file in (("wandb-sweep", "sweep.yaml"), ("configspace", "space.json")):
            done = CliRunner().invoke(app, ["export", "cartpole-ppo", "--format", form, "--out", file])
            assert done.exit_code == 0, done.output
    return folder


WITH_COMMANDS = ("coming-from", "export", "language-models", "objectives", "operations")
PAGES = ("README.md", *(f"docs/{page}.md" for page in WITH_COMMANDS))


def test_there_is_no_other_page_with_commands() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [page.relative_to(ROOT).as_posix() for page in pages if [*commands(page.relative_to(ROOT).as_posix())]]
    assert {*found} == {*PAGES, "docs/tutorial.md"}  # the tutorial is run whole: test_clone.py


@pytest.mark.parametrize("line", [*every_command()])
def test_a_command_has_its_options(line: str) -> None:
    words = shlex.split(line, comments=True)
    command = typer.main.get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    command.make_context(words[1], words[2:])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work_in_their_order(
    page: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = [shlex.split(line, comments=True)[1:] for line in commands(page)]
    for words in said:  # what another page's commands wrote
        if "--out" in words:
            Path(words[words.index("--out") + 1]).unlink(missing_ok=True)
    for line, words in zip(commands(page), said, strict=True):
        if words[0] == "run":
            own = [word for word in words if word.startswith("storage=postgresql:")]
            where = databases.url("postgres" if own else "sqlite", tmp_path)
            words += [*SMALL, f"storage={where}", *([LANGUAGE] if page == "docs/language-models.md" else [])]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception!r}"
