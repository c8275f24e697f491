"""Forked runs take over what another has trained, and their schedule can be trained again as one run."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conformance.backends import RecordingHost, learned, train, train_for
from quickly import some
from small_study import ignore, load

from autorl.engine.conductor import conduct
from autorl.errors import ExportError, SpecError
from autorl.ledger.reader import Reader
from autorl.report.export import render
from autorl.report.findings import gather
from autorl.training.protocol import Interrupted
from autorl.training.sb3 import Sb3Backend, fork
from autorl.training.sb3.model import build
from autorl.trial import Recipe, Run, RunResult, Start

BACKEND = Sb3Backend()
SMALL = {"net_arch": [16]}


def recipe(algorithm: str, env: str, hyperparameters: dict[str, Any], **rest: Any) -> Recipe:
    asked = Recipe("sb3", algorithm, hyperparameters, SMALL, env, {}, (), 240, 4, 2, deterministic=True)
    return replace(asked, **rest)


DONORS = {
    "ppo": recipe("ppo", "CartPole-v1", {"n_steps": 16, "n_envs": 2, "batch_size": 16, "normalize": True}),
    "ppo_lagrangian": recipe(
        "ppo_lagrangian",
        "probe_envs:autorl-tests/Risky-v0",
        {"n_steps": 15, "n_envs": 2, "batch_size": 15, "cost_limit": 0.1, "lagrangian_lr": 0.5},
        cost="info.risk",
    ),
    "a2c": recipe("a2c", "CartPole-v1", {"frame_stack": 2, "lr_schedule": "linear"}),
    "dqn": recipe("dqn", "CartPole-v1", {"learning_starts": 20, "buffer_size": 100, "normalize": True}),
    "sac": recipe("sac", "Pendulum-v1", {"learning_starts": 20, "batch_size": 16, "use_sde": True}),
}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ppo": (
        {"learning_rate": 1e-3, "gamma": 0.9, "clip_range": 0.1, "n_epochs": 2},
        {"n_steps": 20, "batch_size": 10, "ent_coef": 0.01},
    ),
    "ppo_lagrangian": ({"lagrangian_lr": 1.0, "cost_gamma": 0.9, "n_steps": 10}, {"n_envs": 3, "cost_limit": 0.0}),
    "a2c": ({"learning_rate": 1e-3, "n_steps": 8}, {"use_rms_prop": False, "vf_coef": 0.3}),
    "dqn": ({"learning_rate": 1e-3, "buffer_size": 40, "train_freq": 2}, {"n_envs": 2, "exploration_fraction": 0.5}),
    "sac": ({"learning_rate": 1e-3, "tau": 0.05, "ent_coef": 0.1}, {"batch_size": 32, "ent_coef": "auto"}),
}


def forked(donor: Recipe, env_steps: int, changes: dict[str, Any], **rest: Any) -> Recipe:
    """Return a recipe that goes on from another with some hyperparameters changed."""
    hyperparameters = {**donor.hyperparameters, **changes}
    return replace(donor, hyperparameters=hyperparameters, start=Start(donor, env_steps), **rest)


def chain(recipes: list[Recipe], folder: Path) -> RunResult:
    """Train recipes one after the other, each in a job of its own that starts from a copy of the last checkpoint."""
    for index, following in enumerate(recipes[1:], start=1):
        assert following.start is not None
        train(BACKEND, recipes[index - 1], folder / f"{index - 1}", until=following.start.env_steps)
        shutil.copy(folder / f"{index - 1}", folder / f"{index}")
    return train(BACKEND, recipes[-1], folder / f"{len(recipes) - 1}")


def schedule(name: str) -> list[Recipe]:
    first = DONORS[name]
    second = forked(first, 60, CHANGES[name][0])
    return [first, second, forked(second, 120, CHANGES[name][1])]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", some(DONORS, "ppo", "sac"))
def test_a_schedule_trained_as_one_run_is_the_chain_of_forks(name: str, tmp_path: Path) -> None:
    recipes = schedule(name)
    expected = chain(recipes, tmp_path)
    assert len(expected.curve) == 4
    assert expected.env_steps >= 240
    host = RecordingHost(tmp_path / "replayed")
    replayed = train_for(host, BACKEND, recipes[-1])
    assert learned(replayed) == learned(expected)
    assert tuple(host.points) == replayed.curve
    assert replayed.env_steps == expected.env_steps


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ppo", "sac"])
@pytest.mark.parametrize(
    "stop_after", [pytest.param(30, marks=pytest.mark.slow), 90, pytest.param(150, marks=pytest.mark.slow)]
)
def test_a_replay_can_be_interrupted_anywhere(name: str, stop_after: int, tmp_path: Path) -> None:
    whole = train(BACKEND, schedule(name)[-1], tmp_path / "whole")
    with pytest.raises(Interrupted):
        train_for(RecordingHost(tmp_path / "parts", stop_after), BACKEND, schedule(name)[-1])
    assert learned(train(BACKEND, schedule(name)[-1], tmp_path / "parts")) == learned(whole)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", some(DONORS, "ppo", "sac"))
def test_a_fork_that_changes_nothing_is_its_donor_and_one_that_does_is_not(name: str, tmp_path: Path) -> None:
    donor = DONORS[name]
    goes_on = learned(train(BACKEND, donor, tmp_path / "donor"))
    assert learned(train(BACKEND, forked(donor, 120, {}), tmp_path / "same")) == goes_on
    other = learned(train(BACKEND, forked(donor, 120, {"learning_rate": 0.02}), tmp_path / "other"))
    early = [point for point in goes_on if point[0] <= 120]
    assert other[: len(early)] == early
    assert other != goes_on


def test_the_donors_learning_comes_along_and_its_seconds_stay_its_own(tmp_path: Path) -> None:
    donor = DONORS["ppo"]
    before = train(BACKEND, donor, tmp_path / "a", until=120)
    student = forked(donor, 120, {"learning_rate": 1e-3})
    started = time.monotonic()
    half = train(BACKEND, student, tmp_path / "a", until=180)
    assert half.wall_seconds <= time.monotonic() - started
    assert half.curve[: len(before.curve)] == before.curve
    assert half.curve[-1].wall_seconds > before.curve[-1].wall_seconds  # curves tell of all that was trained
    whole = train(BACKEND, student, tmp_path / "a")
    assert half.wall_seconds < whole.wall_seconds <= time.monotonic() - started
    assert whole.cpu_seconds > half.cpu_seconds
    assert not whole.notes


def test_seconds_of_an_interrupted_replay_are_not_lost(tmp_path: Path) -> None:
    student = forked(DONORS["ppo"], 120, {"learning_rate": 1e-3})
    host = RecordingHost(tmp_path / "a", 60)
    with pytest.raises(Interrupted):
        train_for(host, BACKEND, student)
    assert host.points  # what the run spent on its donor's part is its own, since it trained that itself
    whole = train(BACKEND, student, tmp_path / "a")
    assert whole.wall_seconds >= whole.curve[-1].wall_seconds > host.points[-1].wall_seconds


def test_a_lost_checkpoint_is_made_up_for(tmp_path: Path) -> None:
    recipes = schedule("ppo")
    expected = chain(recipes, tmp_path)
    (tmp_path / "lost").write_bytes(b"nothing")
    result = train(BACKEND, recipes[-1], tmp_path / "lost")
    assert learned(result) == learned(expected)
    assert any("started anew" in note for note in result.notes)


RESHAPED: dict[str, tuple[Recipe, dict[str, Any]]] = {
    "environments on policy": (DONORS["ppo"], {"n_envs": 3}),
    "environments off policy": (DONORS["sac"], {"n_envs": 2, "use_sde": True}),
    "noise": (
        recipe("td3", "Pendulum-v1", {"learning_starts": 20, "noise_type": "ornstein-uhlenbeck"}),
        {"noise_type": "normal", "train_freq": [1, "episode"]},
    ),
    "recurrence": (
        recipe("recurrent_ppo", "CartPole-v1", {"n_steps": 20, "batch_size": 20}),
        {"n_steps": 10, "batch_size": 10},
    ),
    "directions": (recipe("ars", "CartPole-v1", {"n_delta": 2}), {"n_delta": 3}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RESHAPED)
def test_shapes_may_change(name: str, tmp_path: Path) -> None:
    donor, changes = RESHAPED[name]
    student = forked(donor, 120, changes)
    expected = chain([donor, student], tmp_path)
    assert len(expected.curve) == 4
    assert learned(train(BACKEND, student, tmp_path / "replayed")) == learned(expected)


def test_a_shorter_replay_buffer_keeps_the_newest() -> None:
    model: Any
    model, *_ = build(recipe("dqn", "CartPole-v1", {"buffer_size": 6, "n_envs": 2}), 0)
    buffer = model.replay_buffer
    rewards = torch.tensor([[4.0, 40.0], [2.0, 20.0], [3.0, 30.0]])
    fork.refill(buffer, {"position": 1, "full": True, "arrays": {"rewards": rewards[:, :1]}})
    assert (buffer.pos, buffer.full) == (1, False)
    np.testing.assert_array_equal(buffer.rewards[:1], [[3, 4]])
    fork.refill(buffer, {"position": 1, "full": True, "arrays": {"rewards": rewards}})
    assert (buffer.pos, buffer.full) == (0, True)
    np.testing.assert_array_equal(buffer.rewards, [[2, 20], [3, 30], [4, 40]])


# Distillation

PENDULUM = {"learning_starts": 20, "batch_size": 16}
TEACHERS = {
    "ppo": DONORS["ppo"],
    "ppo-continuous": recipe("ppo", "Pendulum-v1", {"n_steps": 40, "batch_size": 20}),
    "dqn": DONORS["dqn"],
    "qrdqn": recipe("qrdqn", "CartPole-v1", {"learning_starts": 20}, policy={**SMALL, "n_quantiles": 10}),
    "sac": DONORS["sac"],
    "td3": recipe("td3", "Pendulum-v1", {**PENDULUM, "noise_type": "ornstein-uhlenbeck"}),
    "tqc": recipe("tqc", "Pendulum-v1", PENDULUM),
    "crossq": recipe("crossq", "Pendulum-v1", PENDULUM),
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork, "OBSERVATIONS", 1024)
    monkeypatch.setattr(fork, "UPDATES", 300)


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", some(TEACHERS, "ppo", "dqn", "td3"))
def test_a_fork_with_another_architecture_agrees_with_its_donor(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[float] = []
    distil = fork.distil

    def measured(teacher: Any, student: Any, observations: Any, actions: Any, *rest: Any) -> None:
        before = float(fork.divergence(teacher, student, observations, actions))
        distil(teacher, student, observations, actions, *rest)
        found.extend([before, float(fork.divergence(teacher, student, observations, actions))])

    monkeypatch.setattr(fork, "distil", measured)
    donor = TEACHERS[name]
    policy = {**donor.policy, "net_arch": [24, 24], "activation_fn": "elu"}
    student = forked(donor, 120, {}, policy=policy)
    result = chain([donor, student], tmp_path)
    assert result.status == "completed", result.error
    assert len(result.curve) == 4
    assert any("distilled" in note for note in result.notes)
    before, after = found
    assert after < 0.05
    assert after < before / 2


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_a_distillation_trained_as_one_run_is_the_same(name: str, tmp_path: Path) -> None:
    donor = DONORS[name]
    student = forked(donor, 120, {"normalize": name == "sac"}, policy={"net_arch": [8, 8]})
    assert learned(train(BACKEND, student, tmp_path / "replayed")) == learned(chain([donor, student], tmp_path))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("name", "changes", "rest", "said"),
    [
        ("ppo", {}, {"algorithm": "a2c", "hyperparameters": {}}, "cannot go on as one of a2c"),
        ("ppo", {"frame_stack": 3}, {}, "another frame_stack"),
        ("qrdqn", {}, {"policy": {**SMALL, "n_quantiles": 5}}, "numbers of critics or quantiles"),
    ],
)
def test_what_cannot_be_taken_over_is_a_failure_that_says_so(
    name: str, changes: dict[str, Any], rest: dict[str, Any], said: str, tmp_path: Path
) -> None:
    donor = TEACHERS[name]
    student = replace(forked(donor, 120, changes), **rest)
    result = chain([donor, student], tmp_path)
    assert (result.status, result.error_class) == ("failed", "exception")
    assert result.error is not None
    assert said in result.error.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "searched", "said"),
    [
        ("ppo", "frame_stack: {values: [1, 2]}", "another frame_stack"),
        ("recurrent_ppo", "policy.net_arch: {values: [tiny, small]}", "another policy.net_arch"),
        ("ppo", "policy.net_arch: {values: [tiny, small]}", ""),
    ],
)
def test_a_study_whose_forks_could_not_go_on_is_refused(name: str, searched: str, said: str, tmp_path: Path) -> None:
    mutable = f", mutable: [{searched.split(':')[0]}]" if said.endswith("stack") else ""
    overrides = (
        f"algorithm={{name: {name}}}",
        f"search_space.parameters={{learning_rate: {{min: 1e-4, max: 1e-1}}, {searched}}}",
        f"optimizer={{name: bg_pbt{mutable}}}",
        "evaluation.points=4",
    )
    if not said:
        load(tmp_path, *overrides)
        return
    with pytest.raises(
        SpecError, match=f"optimizer.name: 'bg_pbt' starts trials .* cannot go on with {said}; leave it"
    ):
        load(tmp_path, *overrides)


# Whole studies

PBT = (
    "optimizer={name: pbt, seed: 1, population: 4, interval: 0.25, mutable: [learning_rate, gamma]}",
    "evaluation.points=4",
)


@pytest.mark.filterwarnings("ignore")
def test_a_study_forks_and_tests_the_winners_schedule(tmp_path: Path) -> None:
    spec = load(tmp_path, *PBT)
    assert conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        found = gather(reader, spec.study)
        runs = reader.runs(spec.study)
        curves = {c.run: c.points for c in reader.curves(spec.study, [t.number for t in found.trials], "tuning")}
    assert found.study.state == "finished"
    assert not [run for run in runs if run.state == "failed"]
    forks = [trial for trial in found.trials if trial.forked_from is not None]
    for trial in forks:
        assert trial.recipe.start is not None
        assert trial.recipe.start.recipe == found.trials[trial.forked_from or 0].recipe
    assert found.winner is not None
    tested = [r for r in runs if r.run.phase == "test" and r.run.trial == found.winner.number]
    assert [(r.state, r.env_steps) for r in tested] == [("completed", 128)] * 3
    # A tuning run of a fork is what its recipe, schedule included, gives when it is trained from the start.
    last = next(trial for trial in reversed(forks) if trial.env_steps == 128)
    again = train(BACKEND, last.recipe, tmp_path / "again", seed=1)
    points = curves[Run(last.number, "tuning", 1)]
    assert [point.env_steps for point in points] == [32, 64, 96, 128]
    assert learned(again) == [(point.env_steps, dict(point.metrics)) for point in points]
    with pytest.raises(ExportError, match=f"autorl test small --trial {last.number}"):
        render(found, last, "rl-zoo3")
