"""Trained in other people's code, an exported configuration scores what the report predicts of other seeds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_study import ignore, load

from autorl.analysis import prediction
from autorl.engine.conductor import conduct
from autorl.ledger.reader import Reader
from autorl.report.export import render
from autorl.report.findings import Findings, gather

SEEDS = range(100, 110)  # of five, a mean says too little where most seeds reach the best score and some do not
TRAINER = Path(__file__).parents[2] / "studies" / "trainers" / "cleanrl_ppo.py"


def studied(folder: Path, *overrides: str) -> Findings:
    """Tune PPO on CartPole a little, and test it on ten seeds."""
    spec = load(
        folder,
        "task.env=CartPole-v1",
        "policy.net_arch=[64, 64]",
        "algorithm.fixed={n_envs: 4, n_steps: 64, batch_size: 64, n_epochs: 8, lr_schedule: linear, ent_coef: 0.01}",
        "search_space.parameters={learning_rate: {min: 1e-3, max: 3e-3, log: true}}",
        "seeds={tuning: 0:1, test: 20:30}",
        "budget={trials: 2, steps_per_run: 20_480}",
        "evaluation={points: 1, episodes: 20}",
        "execution={executor: processes, workers: 2}",
        *overrides,
    )
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        return gather(reader, spec.study)


def run(command: list[str], folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def assert_as_predicted(found: Findings, scores: list[float]) -> None:
    assert found.winner is not None
    expected = prediction(found.scores(found.winner.number, "test"), len(scores))
    assert expected.low <= np.mean(scores) <= expected.high, (expected, scores)


@pytest.mark.slow
def test_rl_zoo3_comes_to_what_the_study_predicts(tmp_path: Path) -> None:
    found = studied(tmp_path)
    assert found.winner is not None
    (tmp_path / "zoo.yml").write_text(render(found, found.winner, "rl-zoo3"))
    assert yaml.safe_load((tmp_path / "zoo.yml").read_text())["CartPole-v1"]["n_timesteps"] == 20_480
    scores = []
    for seed in SEEDS:
        command = [sys.executable, "-m", "rl_zoo3.train", "--algo", "ppo", "--env", "CartPole-v1", "-conf", "zoo.yml"]
        command += ["-f", f"logs{seed}", "--eval-freq", "20480", "--eval-episodes", "20", "--seed", str(seed)]
        run([*command, "--num-threads", "1"], tmp_path)
        (file,) = (tmp_path / f"logs{seed}").rglob("evaluations.npz")
        scores.append(float(np.load(file)["results"][-1].mean()))
    assert_as_predicted(found, scores)


@pytest.mark.slow
def test_a_script_of_cleanrls_kind_comes_to_what_the_study_predicts(tmp_path: Path) -> None:
    found = studied(tmp_path, "evaluation.deterministic=false")  # as are the episodes that such scripts print
    assert found.winner is not None
    (tmp_path / "cleanrl").mkdir()
    (tmp_path / "cleanrl" / "ppo.py").write_text(TRAINER.read_text())
    (tmp_path / "train.sh").write_text(render(found, found.winner, "cleanrl"))
    scores = []
    for seed in SEEDS:
        told = run(["sh", "train.sh", str(seed)], tmp_path)
        returns = [float(value) for value in re.findall(r"episodic_return=\[?([\d.]+)", told)]
        scores.append(float(np.mean(returns[-20:])))
    assert_as_predicted(found, scores)
