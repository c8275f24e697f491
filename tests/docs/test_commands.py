"""The commands of the README and of the page on exports, run one after the other as they stand there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from small_study import ignore, load
from typer.testing import CliRunner

from autorl.cli.app import app
from autorl.engine.conductor import conduct

ROOT = Path(__file__).parents[2]
# What other tests do at length, or what does not end by itself.
ELSEWHERE = (
    "autorl validate",
    "autorl run",
    "autorl dashboard",
    "autorl export steps-recipe-search",
)


def commands(page: str) -> Iterator[str]:
    """Go through the commands of a page, without comments, those that are tested elsewhere left out."""
    for block in re.findall(
        r"^```bash\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("autorl ") and not line.startswith(ELSEWHERE):
                yield line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the database of two studies that have the names of the pages."""
    folder = tmp_path_factory.mktemp("commands")
    few = ("task.env=CartPole-v1", "budget={trials: 3, steps_per_run: 64}", "seeds={tuning: 0:1, test: 20:22}")
    traded = "objectives=[{metric: return}, {metric: cpu_seconds, direction: minimize}]"
    for name, optimizer, *more in (
        ("cartpole-ppo", "random"),
        ("cartpole-tpe", "tpe"),
        ("my-study", "random", traded, "budget.trials=5"),
    ):
        asked = (f"study={name}", f"optimizer={{name: {optimizer}, seed: 1}}", f"storage=sqlite:///{folder}/autorl.db")
        conduct(load(folder, *few, *asked, *more), ignore)
    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True), 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for form, file in (("wandb-sweep", "sweep.yaml"), ("configspace", "space.json")):
            done = CliRunner().invoke(app, ["export", "cartpole-ppo", "--format", form, "--out", file])
            assert done.exit_code == 0, done.output
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", ["README.md", "docs/export.md", "docs/objectives.md"])
def test_the_commands_of_a_page_work_in_their_order(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    listed = list(commands(page))
    assert len(listed) > 2
    for line in listed:
        words = shlex.split(line, comments=True)[1:]
        for word in words:  # what an earlier page wrote may be written again
            if Path(word).is_file() and words[words.index(word) - 1] == "--out":
                Path(word).unlink()
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception!r}"
