"""What is exported runs where it says, and repeats what the study saw."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import yaml
from conformance.backends import learned, train
from quickly import some
from small_study import ignore, load
from states import make

from autorl.engine.conductor import conduct
from autorl.errors import ExportError
from autorl.ledger.reader import Reader
from autorl.ledger.records import TrialRecord
from autorl.report.export import render
from autorl.report.findings import Findings, gather
from autorl.spec.curriculum import KINDS, OF_LANGUAGE, resolved
from autorl.training.sb3 import Sb3Backend
from autorl.trial import Start

TESTS = str(Path(__file__).parents[1])
TAUGHT = (
    "task.env=CartPole-v1",
    "task.parameters={gravity: {min: 5.0, max: 15.0, through: attribute}, "
    "length: {values: [0.3, 0.5, 1.0], through: attribute}}",
    "task.target={gravity: 9.8, length: {values: [0.5, 1.0]}}",
    "task.success_return=15",
)

CASES = {
    "ppo": ("algorithm.fixed={n_steps: 32, n_envs: 2, normalize: true, lr_schedule: linear, frame_stack: 2}",),
    "sac": (
        "task.env=Pendulum-v1",
        "algorithm.name=sac",
        "algorithm.fixed={learning_starts: 32, noise_type: ornstein-uhlenbeck, noise_std: 0.2}",
        "search_space.parameters={learning_rate: {min: 1e-4, max: 1e-2, log: true}}",
    ),
    "ppo_lagrangian": (
        "task.env=Pendulum-v1",
        "task.cost={'probe_envs:swing': {above: 2}}",
        "task.specification=eventually(observation_0 >= 0.5)",
        "algorithm={name: ppo_lagrangian, fixed: {n_steps: 32, n_envs: 2, normalize: true, cost_limit: 5}}",
        "budget={trials: 2, steps_per_run: 640}",
    ),
    "wrapped": ('task.wrappers=["probe_envs:Doubled", {"probe_envs:Doubled": {by: 3}}]', "policy.activation_fn=elu"),
    "taught": (*TAUGHT, "algorithm.fixed={n_steps: 32}", "curriculum={kind: alp_gmm, fit_every: 5, window: 10}"),
}
# Small enough that the teachers learn within the run.
EAGER: dict[str, dict[str, Any]] = {
    "alp_gmm": {"fit_every": 5, "window": 10},
    "again": {
        "fit_every": 5,
        "window": 10,
        "niches": {
            "gravity": [[0.0] * 9 + [1.0], [0.5, 0.5] + [0.0] * 8],
            "length": [[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]],
        },
    },
    "riac": {"region": 5, "window": 4},
    "adr": {"buffer": 1},
    "stages": {"window": 2, "threshold": 0.5},
}


def small(folder: Path, *overrides: str) -> Findings:
    spec = load(folder, "budget={trials: 2, steps_per_run: 96}", "seeds={tuning: 0:1, test: 20:22}", *overrides)
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        return gather(reader, "small")


def repeated(script: Path, folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Return the learning curve that a script trains with seed 0, where autorl is not installed."""
    # A finder that refuses autorl stands for an environment without it.
    guard = "import sys; sys.modules['autorl'] = None; sys.path.insert(0, sys.argv[1]); sys.argv = sys.argv[2:]; "
    guard += "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", guard, TESTS, str(script), "--seed", "0", "--curve", str(folder / "curve.csv")]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with (folder / "curve.csv").open() as file:
        return [(int(row.pop("env_steps")), {k: float(v) for k, v in row.items()}) for row in csv.DictReader(file)]


@pytest.mark.parametrize("case", some(CASES, "ppo", "taught"))
def test_the_script_repeats_a_run_to_the_last_digit_without_autorl(case: str, tmp_path: Path) -> None:
    found = small(tmp_path, *CASES[case])
    script = tmp_path / "exported.py"
    script.write_text(render(found, found.trials[1], "sb3"))
    assert "autorl" not in script.read_text().split('"""')[2]
    with Reader(found.spec.storage) as reader:
        (recorded,) = (c for c in reader.curves("small", [1], "tuning") if c.run.seed == 0)
    assert repeated(script, tmp_path) == [(point.env_steps, dict(point.metrics)) for point in recorded.points]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    settings = "algorithm.fixed={n_steps: 32, n_envs: 2}"
    return small(tmp_path_factory.mktemp("taught"), *TAUGHT, settings, "budget={trials: 1, steps_per_run: 256}")


OF_ENVIRONMENTS = [kind for kind in KINDS if kind not in (*OF_LANGUAGE, "snapshots")]


@pytest.mark.parametrize("kind", some(OF_ENVIRONMENTS, "learning_progress", "alp_gmm", "again", "plr"))
def test_the_script_trains_with_the_curriculum(kind: str, taught: Findings, tmp_path: Path) -> None:
    curriculum = resolved({"kind": kind, **EAGER.get(kind, {})})
    trial = replace(taught.trials[0], recipe=replace(taught.trials[0].recipe, curriculum=curriculum))
    trains_the_same(taught, trial, tmp_path)
    with pytest.raises(ExportError, match=f"varies in gravity, length .curriculum {kind}.*use --format sb3"):
        render(taught, trial, "rl-zoo3")
    written = yaml.safe_load(render(taught, trial, "schedule"))
    assert written["curriculum"] == curriculum
    assert written["task_space"]["target"]["gravity"] == 9.8


def test_the_script_begins_in_the_states_of_trajectories(taught: Findings, tmp_path: Path) -> None:
    env, actions = gym.make("CartPole-v1"), [0, 1] * 6
    seen = [env.reset(seed=3)[0], *(env.step(action)[0] for action in actions)][:-1]
    played = {"seeds": np.array([3]), "lengths": np.array([12]), "actions": np.array(actions)}
    np.savez(tmp_path / "way.npz", **played, observations=np.array(seen), values=np.arange(12.0))
    start = {"min": 0.0, "max": 1.0, "through": "trajectory", "trajectories": str(tmp_path / "way.npz")}
    space = {"parameters": {"start": start}, "target": {"start": 1.0}, "success_return": None}
    curriculum = resolved({"kind": "snapshots", "over": 0.9, "truncate": 5})
    recipe = replace(taught.trials[0].recipe, task_space=space, curriculum=curriculum)
    trains_the_same(taught, replace(taught.trials[0], recipe=recipe), tmp_path)


def trains_the_same(found: Findings, trial: TrialRecord, tmp_path: Path) -> None:
    """Compare the curve of a script with that of the run."""
    script = tmp_path / "exported.py"
    script.write_text(render(found, trial, "sb3"))
    assert "autorl" not in script.read_text().split('"""')[2]
    spec = importlib.util.spec_from_file_location("exported", script)
    assert spec is not None
    assert spec.loader is not None
    exported = importlib.util.module_from_spec(spec)
    sys.modules["exported"] = exported  # dataclasses look for their module there
    try:
        spec.loader.exec_module(exported)
        _, curve = exported.train(0)
    finally:
        del sys.modules["exported"]
    assert curve == learned(train(Sb3Backend(), trial.recipe, tmp_path / "run", seed=0))


def test_what_jax_trained_is_exported_as_what_it_is_in_stable_baselines3(tmp_path: Path) -> None:
    found = small(tmp_path, "algorithm.backend=jax", "algorithm.fixed={n_steps: 32, n_envs: 2, normalize: true}")
    trial = found.trials[1]
    plain = replace(trial, recipe=replace(trial.recipe, backend="sb3"))
    for form in ("sb3", "rl-zoo3"):
        ours, theirs = (render(found, each, form) for each in (trial, plain))
        assert _without_header(ours) == _without_header(theirs)
    script = tmp_path / "exported.py"
    script.write_text(render(found, trial, "sb3"))
    assert "scores agree over seeds" in script.read_text()
    with Reader(found.spec.storage) as reader:
        (recorded,) = (c for c in reader.curves("small", [1], "tuning") if c.run.seed == 0)
    assert [steps for steps, _ in repeated(script, tmp_path)] == [point.env_steps for point in recorded.points]
    unknown = replace(trial, recipe=replace(trial.recipe, backend="landscape"))
    with pytest.raises(ExportError, match="of backend sb3 or jax, not 'landscape'; use --format yaml"):
        render(found, unknown, "sb3")


def _without_header(text: str) -> str:
    return text.split('"""', 2)[-1] if text.startswith('"""') else text


SCHEDULES = {
    "ppo": (
        "algorithm.fixed={n_envs: 2, normalize: true, lr_schedule: linear}",
        "search_space.parameters={n_steps: {min: 3, max: 5, transform: power_of_two}, gamma: {min: 0.9, max: 0.99}, "
        "learning_rate: {min: 1e-4, max: 1e-1, log: true}}",
    ),
    "sac": (
        "task.env=Pendulum-v1",
        "algorithm.name=sac",
        "algorithm.fixed={learning_starts: 32, noise_type: normal, noise_std: 0.2, n_steps: 3, ent_coef: auto}",
        "search_space.parameters={learning_rate: {min: 1e-4, max: 1e-2, log: true}, gamma: {min: 0.9, max: 0.99}}",
    ),
    "dqn": (
        "algorithm={name: dqn, fixed: {learning_starts: 32, buffer_size: 200, target_update_interval: 40}}",
        "search_space.parameters={learning_rate: {min: 1e-4, max: 1e-2, log: true}, gamma: {min: 0.9, max: 0.99}}",
    ),
}


def schedule(folder: Path, *overrides: str) -> tuple[Findings, TrialRecord]:
    """Return a study by population-based training, and its trial with the longest lineage that was trained whole."""
    population = "optimizer={name: pbt, seed: 3, population: 4, interval: 0.3, quantile: 0.5}"
    found = small(folder, population, "evaluation.points=4", "budget={trials: 6, steps_per_run: 128}", *overrides)
    whole = [trial for trial in found.trials if trial.env_steps >= 128]
    return found, max(whole, key=lambda trial: len(trial.recipe.lineage(128)))


@pytest.fixture(scope="module")
def of_ppo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Findings, TrialRecord]:
    return schedule(tmp_path_factory.mktemp("schedule"), *SCHEDULES["ppo"])


TAUGHT_SCHEDULE = (
    *TAUGHT,
    "curriculum={kind: learning_progress, bins: 3}",
    "algorithm.fixed={n_envs: 2}",
    "search_space.parameters={n_steps: {min: 3, max: 5, transform: power_of_two}, gamma: {min: 0.9, max: 0.99}}",
)


@pytest.mark.parametrize("case", some([*SCHEDULES, "taught"], "ppo"))
def test_the_script_of_a_schedule_repeats_a_run_to_the_last_digit(
    case: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    asked = {**SCHEDULES, "taught": TAUGHT_SCHEDULE}[case]
    found, trial = request.getfixturevalue("of_ppo") if case == "ppo" else schedule(tmp_path, *asked)
    stages = trial.recipe.lineage(128)
    assert len(stages) > 1
    assert len({str(recipe.hyperparameters) for recipe, _ in stages}) > 1
    script = tmp_path / "exported.py"
    script.write_text(render(found, trial, "sb3"))
    with Reader(found.spec.storage) as reader:
        (recorded,) = (c for c in reader.curves("small", [trial.number], "tuning") if c.run.seed == 0)
    assert repeated(script, tmp_path) == [(point.env_steps, dict(point.metrics)) for point in recorded.points]


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
    assert "policy_kwargs=dict(net_arch=[8], activation_fn=nn.Tanh)" in script  # the second is nobody's but SB3's
    assert "Study small, trial 1: ppo" in script
    assert "Seeds: tuning 0:1, test 20:22." in script


@pytest.mark.parametrize("case", some(["ppo", "sac"], "ppo"))
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


def test_the_zoo_command_names_the_package_and_the_task_that_is_evaluated(tmp_path: Path) -> None:
    spec = make(
        "finished", tmp_path, "task={env: 'probe_envs:autorl-tests/Paced-v0', env_kwargs: {seconds: 0.0}}"
    ).storage
    with Reader(spec) as reader:
        found = gather(reader, "small")
    text = render(found, found.trials[1], "rl-zoo3")
    said = "--env autorl-tests/Paced-v0 -conf THIS_FILE --gym-packages probe_envs --eval-env-kwargs seconds:0.0"
    assert said in text
    assert list(yaml.safe_load(text)) == ["autorl-tests/Paced-v0"]


def test_a_schedule_is_written_as_data(of_ppo: tuple[Findings, TrialRecord]) -> None:
    found, trial = of_ppo
    written = yaml.safe_load(render(found, trial, "schedule"))
    stages = trial.recipe.lineage(128)
    assert [stage["until"] for stage in written["stages"]] == [until for _, until in stages]
    assert [stage["hyperparameters"] for stage in written["stages"]] == [dict(r.hyperparameters) for r, _ in stages]
    assert (written["algorithm"], written["env_steps"], written["policy"]) == ("ppo", 128, {"net_arch": [8]})
    single = yaml.safe_load(render(found, found.trials[0], "schedule"))
    assert single["stages"] == [{"until": 128}]
    assert single["hyperparameters"] == found.trials[0].recipe.hyperparameters


def test_training_by_a_schedule_repeats_the_run(of_ppo: tuple[Findings, TrialRecord], tmp_path: Path) -> None:
    found, trial = of_ppo
    written = yaml.safe_load(render(found, trial, "schedule"))
    recipe, until = None, 0
    for stage in written.pop("stages"):
        told = {**written, **stage}
        until, reached = told.pop("until"), until
        start = None if recipe is None else Start(recipe, reached)
        # What the file does not say is what evaluations are like, which the target has settings of its own for.
        recipe = replace(trial.recipe, **{**told, "wrappers": tuple(told["wrappers"])}, start=start)
    assert recipe is not None
    with Reader(found.spec.storage) as reader:
        (recorded,) = (c for c in reader.curves("small", [trial.number], "tuning") if c.run.seed == 0)
    assert learned(train(Sb3Backend(), recipe, tmp_path / "again", seed=0)) == [
        (point.env_steps, dict(point.metrics)) for point in recorded.points
    ]


def test_what_cannot_hold_a_schedule_says_what_can(of_ppo: tuple[Findings, TrialRecord], tmp_path: Path) -> None:
    found, trial = of_ppo
    with pytest.raises(ExportError, match=rf"rl-zoo3 cannot hold it: .* autorl test small --trial {trial.number}"):
        render(found, trial, "rl-zoo3")
    architecture = "search_space.parameters={policy.net_arch: {values: [tiny, small]}, gamma: {min: 0.9, max: 0.99}}"
    other = tmp_path / "other"
    other.mkdir()
    found = small(
        other,
        "optimizer={name: bg_pbt, seed: 3, population: 4, interval: 0.3, quantile: 0.5}",
        "evaluation.points=4",
        "budget={trials: 6, steps_per_run: 128}",
        architecture,
    )
    grown = [
        trial for trial in found.trials if len({str(recipe.policy) for recipe, _ in trial.recipe.lineage(128)}) > 1
    ]
    assert grown
    with pytest.raises(ExportError, match="sb3 cannot hold it: the policy or the environment changes on the way"):
        render(found, grown[0], "sb3")


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    found = small(tmp_path)
    with pytest.raises(ExportError, match="unknown format 'sb4'; did you mean 'sb3'"):
        render(found, found.trials[0], "sb4")
