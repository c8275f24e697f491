"""Users' own trainers, functions and programs, keep the promises of backends, and fail as what they are."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conformance.backends import BackendConformance, RecordingHost, learned, train, train_for

from autorl.training.program.command import CommandBackend
from autorl.training.program.function import FunctionBackend
from autorl.trial import Recipe, Start

HERE = Path(__file__).parent
PROGRAM = {
    "function": None,
    "command": None,
    "argument": "--{name} {value}",
    "folder": str(HERE),
    "variables": {},
    "reports": {"format": "json", "file": None, "env_steps": "env_steps", "metrics": {}, "pattern": []},
    "checkpoint": True,
    "asked": ["return"],
}
WALK = "{python} walk.py --drift {drift} --seed {seed} --steps {env_steps} --until {until} --state {checkpoint}"
WALK += " {arguments}"
WORDS = {"format": "pattern", "pattern": [r"step=(?P<env_steps>\d+), return=\[(?P<return>[^]]+)\]"]}
CSV = {"format": "csv", "env_steps": "global_step", "metrics": {"return": "episode_reward"}}


def function(name: str = "walk", **program: Any) -> Recipe:
    asked = {**PROGRAM, "function": f"trainers:{name}", **program}
    return Recipe("function", "walk", {"drift": 0.5}, {}, "Walk", {}, (), 600, 10, 10, True, program=asked)


def command(line: str = WALK, reports: dict[str, Any] | None = None, out: str = "json", **program: Any) -> Recipe:
    read = {**PROGRAM["reports"], **(reports or {})}  # type: ignore[dict-item]
    asked = {**PROGRAM, "command": line, "reports": read, **program}
    settings = {"drift": 0.5, "out": out}
    return Recipe("command", "walk", settings, {}, "Walk", {}, (), 600, 10, 10, True, program=asked)


class TestFunction(BackendConformance):
    @pytest.fixture
    def backend(self) -> FunctionBackend:
        return FunctionBackend()

    @pytest.fixture
    def recipe(self) -> Recipe:
        return function()

    @pytest.fixture
    def failing(self) -> Recipe:
        return function("broken")


class TestCommand(BackendConformance):
    @pytest.fixture
    def backend(self) -> CommandBackend:
        return CommandBackend()

    @pytest.fixture
    def recipe(self) -> Recipe:
        return command(reports=WORDS, out="words")

    @pytest.fixture
    def failing(self) -> Recipe:
        return command(WALK + " --fail raise")


@pytest.mark.parametrize(
    ("reports", "out", "line"),
    [
        ({}, "json", WALK),
        (CSV, "csv", WALK),
        ({**CSV, "file": "{run_folder}/log.csv"}, "csv", WALK + " --file {run_folder}/log.csv"),
        (WORDS, "words", WALK),
    ],
)
def test_a_program_is_heard_however_it_speaks(reports: dict[str, Any], out: str, line: str, tmp_path: Path) -> None:
    curve = train(CommandBackend(), command(line, reports, out), tmp_path / "a").curve
    asked = train(FunctionBackend(), function(), tmp_path / "b").curve
    assert [point.metrics["return"] for point in curve] == [point.metrics["return"] for point in asked]


def test_a_point_is_the_mean_of_what_was_reported_since_the_one_before(tmp_path: Path) -> None:
    host = RecordingHost(tmp_path / "a")
    every = train_for(host, FunctionBackend(), replace(function(), evaluation_points=20), seed=3).curve
    fewer = train(FunctionBackend(), replace(function(), evaluation_points=5), tmp_path / "b").curve
    values = [point.metrics["return"] for point in every]
    means = [sum(values[k : k + 4]) / 4 for k in range(0, 20, 4)]
    assert [point.metrics["return"] for point in fewer] == pytest.approx(means, rel=1e-12)


def test_a_program_that_keeps_no_state_is_stopped_where_it_is_to_pause(tmp_path: Path) -> None:
    recipe = command(WALK.replace("--until {until} --state {checkpoint} ", ""), checkpoint=False)
    part = train(CommandBackend(), recipe, tmp_path / "a", until=200)
    assert [point.env_steps for point in part.curve] == [60, 120, 180]
    assert not (tmp_path / "a").exists()
    assert learned(train(CommandBackend(), recipe, tmp_path / "a"))[:3] == learned(part)


def test_a_fork_goes_on_from_its_donors_state(tmp_path: Path) -> None:
    donor = function()
    fork = replace(donor, hyperparameters={"drift": -2.0}, start=Start(donor, 300))
    train(FunctionBackend(), donor, tmp_path / "a", until=300)
    forked = train(FunctionBackend(), fork, tmp_path / "a")
    assert learned(forked)[:5] == learned(train(FunctionBackend(), donor, tmp_path / "b"))[:5]
    assert learned(forked) == learned(train(FunctionBackend(), fork, tmp_path / "c"))


def test_a_parameter_without_a_value_is_left_out_with_its_option(tmp_path: Path) -> None:
    with_option = command(WALK + " --momentum {momentum}")
    assert learned(train(CommandBackend(), with_option, tmp_path / "a")) == learned(
        train(CommandBackend(), command(), tmp_path / "b")
    )


def test_what_a_function_returns_is_its_report(tmp_path: Path) -> None:
    result = train(FunctionBackend(), replace(function("once"), evaluation_points=1), tmp_path / "a")
    assert [point.env_steps for point in result.curve] == [600]
    assert 0.5 <= result.curve[0].metrics["return"] < 1.5


def test_a_function_that_catches_every_exception_is_stopped_all_the_same(tmp_path: Path) -> None:
    part = train(FunctionBackend(), function("careless", checkpoint=False), tmp_path / "a", until=180)
    assert [point.env_steps for point in part.curve] == [60, 120, 180]


@pytest.mark.parametrize(
    ("recipe", "kind", "said"),
    [
        (function("broken"), "exception", "the reward model is gone"),
        (function("broken"), "exception", "about to fail"),
        (function("diverging"), "diverged", "after 60 steps return is nan"),
        (function("silent"), "exception", "ended after 300 of 600 environment steps, with 5 of 10 evaluations to go"),
        (function("once"), "exception", "nothing was reported in the first 120 steps"),
        (function("nowhere"), "exception", "has no attribute 'nowhere'"),
        (function(asked=["cost"]), "exception", "no 'cost' in the first 60 environment steps: it reported return"),
        (command(WALK + " --fail exit"), "exception", "exited with status 3"),
        (command(WALK + " --fail exit"), "exception", "out of patience"),
        (command(WALK + " --fail raise"), "exception", "the simulator is gone"),
        (command(WALK + " --fail nan"), "diverged", "return is nan"),
        (command(WALK + " --fail early"), "exception", "ended after 30 of 600 environment steps"),
        (command(WALK + " --fail kill"), "crash", "killed by SIGSEGV"),
        (command("{python} missing.py"), "exception", "No such file or directory"),
    ],
)
def test_failures_are_told_apart_and_say_what_happened(recipe: Recipe, kind: str, said: str, tmp_path: Path) -> None:
    backend = CommandBackend() if recipe.backend == "command" else FunctionBackend()
    result = train(backend, recipe, tmp_path / "a")
    assert (result.status, result.error_class) == ("failed", kind)
    assert said in (result.error or "")


def test_a_program_that_keeps_its_state_and_does_not_stop_is_told_to(tmp_path: Path) -> None:
    result = train(CommandBackend(), command(WALK.replace(" --until {until}", "")), tmp_path / "a", until=180)
    assert result.error_class == "exception"
    assert "was to stop at 180: a program that keeps its state (program.checkpoint) has to stop" in (result.error or "")


def test_programs_are_charged_their_processor_time(tmp_path: Path) -> None:
    busy = f'{sys.executable} -c "[i for i in range(10**7)]; print(\'{{\\"env_steps\\": 600, \\"return\\": 1}}\')"'
    result = train(CommandBackend(), replace(command(busy), evaluation_points=1), tmp_path / "a")
    assert result.status == "completed", result.error
    assert result.cpu_seconds > 0.1
