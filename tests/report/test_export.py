"""What is exported runs where it says, and repeats what the study saw."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_study import ignore, load

from autorl.engine.conductor import conduct
from autorl.errors import ExportError
from autorl.ledger.reader import Reader
from autorl.report.export import render
from autorl.report.findings import Findings, gather

TESTS = str(Path(__file__).parents[1])
CASES = {
    "ppo": ("algorithm.fixed={n_steps: 32, n_envs: 2, normalize: true, lr_schedule: linear, frame_stack: 2}",),
    "sac": (
        "task.env=Pendulum-v1",
        "algorithm.name=sac",
        "algorithm.fixed={learning_starts: 32, noise_type: ornstein-uhlenbeck, noise_std: 0.2}",
        "search_space.parameters={learning_rate: {min: 1e-4, max: 1e-2, log: true}}",
    ),
    "wrapped": ('task.wrappers=["probe_envs:Doubled", {"probe_envs:Doubled": {by: 3}}]', "policy.activation_fn=elu"),
}


def small(folder: Path, *overrides: str) -> Findings:
    spec = load(folder, "budget={trials: 2, steps_per_run: 96}", "seeds={tuning: 0:1, test: 20:22}", *overrides)
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        return gather(reader, "small")


@pytest.mark.parametrize("case", CASES)
def test_the_script_repeats_a_run_to_the_last_digit_without_autorl(case: str, tmp_path: Path) -> None:
    found = small(tmp_path, *CASES[case])
    script = tmp_path / "exported.py"
    script.write_text(render(found, found.trials[1], "sb3"))
    assert "autorl" not in script.read_text().split('"""')[2]
    # A finder that refuses autorl stands for an environment without it.
    guard = "import sys; sys.modules['autorl'] = None; sys.path.insert(0, sys.argv[1]); sys.argv = sys.argv[2:]; "
    guard += "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    with Reader(found.spec.storage) as reader:
        (recorded,) = (c for c in reader.curves("small", [1], "tuning") if c.run.seed == 0)
    command = [sys.executable, "-c", guard, TESTS, str(script), "--seed", "0", "--curve", str(tmp_path / "curve.csv")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    with (tmp_path / "curve.csv").open() as file:
        repeated = [(int(row.pop("env_steps")), {k: float(v) for k, v in row.items()}) for row in csv.DictReader(file)]
    assert repeated == [(point.env_steps, dict(point.metrics)) for point in recorded.points]


def test_the_script_has_everything_written_out(tmp_path: Path) -> None:
    found = small(tmp_path)
    script = render(found, found.trials[1], "sb3")
    config = found.trials[1].config.values
    for expected in (
        f"learning_rate={config['learning_rate']!r}",
        f"gamma={config['gamma']!r}",
        "vf_coef=0.5",
        "n_steps=32",
    ):
        assert expected in script
    assert "policy_kwargs=dict(net_arch=[8])" in script
    assert "Study small, trial 1: ppo" in script
    assert "Seeds: tuning 0:1, test 20:22." in script


@pytest.mark.parametrize("case", ["ppo", "sac"])
def test_the_zoo_file_trains_with_rl_zoo3(case: str, tmp_path: Path) -> None:
    overrides = ("task.env=CartPole-v1", *CASES["ppo"]) if case == "ppo" else CASES[case]
    found = small(tmp_path, *overrides)
    file = tmp_path / "zoo.yml"
    file.write_text(render(found, found.trials[1], "rl-zoo3"))
    env = found.spec.task.env
    entry = yaml.safe_load(file.read_text())[env]
    rate = found.trials[1].config.values["learning_rate"]
    assert entry["n_timesteps"] == 96
    assert entry["learning_rate"] == (f"lin_{rate!r}" if case == "ppo" else rate)
    command = [sys.executable, "-m", "rl_zoo3.train", "--algo", case, "--env", env, "-conf", str(file)]
    command += ["-f", str(tmp_path / "logs"), "--eval-freq", "-1", "--seed", "1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((tmp_path / "logs").rglob(f"{env}.zip"))


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    found = small(tmp_path)
    with pytest.raises(ExportError, match="unknown format 'sb4'; did you mean 'sb3'"):
        render(found, found.trials[0], "sb4")
