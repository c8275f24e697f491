"""A model that is exported is the one that the study measured, loads as its card says, and scores what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import databases
import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from small_study import ignore, load
from typer.testing import CliRunner

from autorl.cli.app import app
from autorl.engine.conductor import conduct
from autorl.errors import ExportError
from autorl.ledger.reader import Reader
from autorl.report.export.model import write
from autorl.report.findings import Findings, gather
from autorl.training.curriculum.trajectories import Trajectories
from autorl.training.tasks import make_env

TESTS = str(Path(__file__).parents[1])


def studied(folder: Path, *overrides: str) -> Findings:
    spec = load(folder, "budget={trials: 2, steps_per_run: 96}", "seeds={tuning: 0:1, test: 20:22}", *overrides)
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        return gather(reader, "small")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    fixed = "algorithm.fixed={n_steps: 32, n_envs: 2, normalize: true, frame_stack: 2}"
    wrapped = 'task.wrappers=[{"probe_envs:Doubled": {by: 3}}]'
    return studied(tmp_path_factory.mktemp("study"), "task.env=CartPole-v1", fixed, wrapped)


def last(found: Findings, trial: int, seed: int) -> dict[str, float]:
    with Reader(found.spec.storage) as reader:
        (curve,) = (c for c in reader.curves("small", [trial]) if c.run.seed == seed)
    return dict(curve.points[-1].metrics)


def test_the_card_loads_the_model_and_repeats_its_score(found: Findings, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    command = ["export", "small", "--storage", found.spec.storage, "--format", "model", "--out", str(folder)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "configuration.yaml",
        "model.zip",
        "trajectories.npz",
        "vecnormalize.pkl",
    ]
    assert found.winner is not None
    measured = last(found, found.winner.number, 20)

    with np.load(folder / "trajectories.npz") as played:
        assert max(played["seeds"]) < 2**30  # with which no evaluation begins
        assert len(played["values"]) == len(played["actions"])
        assert np.ptp(played["values"]) > 0
    episodes = Trajectories(str(folder / "trajectories.npz"))
    env = make_env(found.spec.task.env, {}, found.spec.task.wrappers)
    for number in (0, len(episodes.states) // 2, len(episodes.states) - 1):
        seen, _ = episodes.begin(env, number, None)
        assert np.array_equal(seen, episodes.observations[number])

    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "stable-baselines3"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.dataset_name) == ("mean_reward", "CartPole-v1")
    assert result.metric_value == f"{measured['return']:.2f} +/- {measured['return_std']:.2f}"
    assert "Seeds: tuning 0:1, test 20:22." in card.text
    assert yaml.safe_load((folder / "configuration.yaml").read_text())["origin"]["trial"] == found.winner.number

    (code,) = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    path = os.pathsep.join([TESTS, os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    mean, _, std = ran.stdout.split()
    assert (float(mean), float(std)) == (measured["return"], measured["return_std"])


def test_any_run_can_be_asked_for(found: Findings, tmp_path: Path) -> None:
    with Reader(found.spec.storage) as reader:
        run = write(found, found.trials[1], reader, tmp_path / "model", seed=0)
        with pytest.raises(
            ExportError, match=r"no completed run with seed 7 \(seeds trained in full: 20, 21, 0.*autorl test"
        ):
            write(found, found.trials[1], reader, tmp_path / "other", seed=7)
        with pytest.raises(ExportError, match="exists; write another folder"):
            write(found, found.trials[1], reader, tmp_path / "model", seed=0)
    assert (run.phase, run.seed) == ("tuning", 0)
    assert not (tmp_path / "other").exists()


def test_of_a_task_that_varies_no_trajectories_are_written(tmp_path: Path) -> None:
    varies = "parameters: {gravity: {min: 5.0, max: 15.0, through: attribute}}, target: {gravity: 12.0}"
    found = studied(tmp_path, f"task={{env: CartPole-v1, {varies}}}", "seeds.test=20:21")
    with Reader(found.spec.storage) as reader:
        write(found, found.trials[0], reader, tmp_path / "model")
    assert not (tmp_path / "model" / "trajectories.npz").exists()
    card = (tmp_path / "model" / "README.md").read_text()
    assert "## Training\n\n`configuration.yaml`" in card
    assert "the task varied" in card


def test_a_model_that_is_not_the_one_that_was_measured_is_not_written(tmp_path: Path) -> None:
    found = studied(tmp_path)
    databases.execute(
        found.spec.storage, "UPDATE autorl_curve SET points = replace(points, '\"return\"\\: ', '\"return\"\\: 1')"
    )
    databases.execute(found.spec.storage, 'UPDATE autorl_study SET versions = \'{"torch"\\: "0.1"}\'')
    with Reader(found.spec.storage) as reader:
        changed = gather(reader, "small")
        with pytest.raises(ExportError, match=r"this model is not the one.*Versions differ: .*torch 0.1 then"):
            write(changed, changed.trials[1], reader, tmp_path / "model", seed=0)
    assert [p.name for p in tmp_path.iterdir() if "model" in p.name] == []
