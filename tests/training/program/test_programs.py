"""Users' own trainers, functions and programs, keep the promises of backends, and fail as what they are."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conformance.backends import BackendConformance, RecordingHost, learned, train, train_for

from autorl.training.program.command import CommandBackend
from autorl.training.program.function import FunctionBackend
from autorl.training.program.run import Output
from autorl.training.program.words import Launch, command_line
from autorl.training.protocol import Interrupted
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


@pytest.mark.parametrize(
    ("at", "values"),
    [
        ([290, 600], [0, 1]),  # the last says nothing of the first half
        ([100, 290, 610], [0.5, 2]),
        ([300, 595], [0, 1]),  # it trains whole batches only
        ([320, 590], [0, 1]),
        ([200, 590], [0.5, 0.5]),  # the last report before the end closes a point, and stands for the end
        ([300, 310, 900], [0, 1.5]),
    ],
)
def test_a_point_is_of_what_was_reported_before_it_was_passed(
    at: list[int], values: list[float], tmp_path: Path
) -> None:
    recipe = replace(function("listed", checkpoint=False), hyperparameters={"at": at}, evaluation_points=2)
    curve = train(FunctionBackend(), recipe, tmp_path / "a").curve
    assert [point.metrics["return"] for point in curve] == values


def test_a_table_that_is_written_anew_is_read_on(tmp_path: Path) -> None:
    reports = {**CSV, "file": "{run_folder}/log.csv", "env_steps": "steps", "metrics": {}}
    line = "{python} table.py --steps {env_steps} --file {run_folder}/log.csv"
    recipe = replace(command(line, reports, checkpoint=False), hyperparameters={})
    curve = train(CommandBackend(), recipe, tmp_path / "a").curve
    assert [point.metrics["return"] for point in curve] == [*range(1, 11)]
    assert curve[-1].metrics["loss"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "line", ['{"env_steps": 600, "score": 7, "return": 1}', '{"return": 1, "score": 7, "env_steps": 600}']
)
def test_a_metric_is_the_one_that_the_study_names(line: str, tmp_path: Path) -> None:
    program = [sys.executable, "-c", f"print({line!r})"]
    recipe = command("", {"metrics": {"return": "score"}}, checkpoint=False)
    recipe = replace(recipe, program={**(recipe.program or {}), "command": program}, evaluation_points=1)
    assert train(CommandBackend(), recipe, tmp_path / "a").curve[0].metrics == {"return": 7.0}


def test_a_last_line_without_its_end_is_read_from_a_file(tmp_path: Path) -> None:
    code = "import sys; open(sys.argv[1], 'w').write('{\"env_steps\": 600, \"return\": 3}')"
    recipe = command("", {"file": "{run_folder}/log"}, checkpoint=False)
    program = {**(recipe.program or {}), "command": [sys.executable, "-c", code, "{run_folder}/log"]}
    result = train(CommandBackend(), replace(recipe, program=program, evaluation_points=1), tmp_path / "a")
    assert learned(result)[0][1] == {"return": 3.0}


def test_a_state_that_stays_as_it_is_is_saved_once(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; open(sys.argv[1] + '.new', 'w').write('1'); "
        "os.replace(sys.argv[1] + '.new', sys.argv[1]); time.sleep(2.5); "
        'print(\'{"env_steps": 600, "return": 3}\')'
    )
    program = [sys.executable, "-c", code, "{checkpoint}"]
    recipe = command("")
    recipe = replace(recipe, program={**(recipe.program or {}), "command": program}, evaluation_points=1)
    saves: list[int] = []

    class Counting(RecordingHost):
        def save(self, env_steps: int, content: memoryview) -> None:
            saves.append(env_steps)

    assert train_for(Counting(tmp_path / "a"), CommandBackend(), recipe, every=0.2).status == "completed"
    assert saves == [0]


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("--{name} {value}", ["train", "--norm"]),
        ("++{name}={value}", ["train", "--norm"]),
        ("{name}:{value}", ["train"]),
    ],
)
def test_a_switch_before_no_arguments_stays_and_their_option_goes(argument: str, line: list[str]) -> None:
    recipe = replace(command("train --norm {arguments}", argument=argument), hyperparameters={})
    assert command_line(Launch(recipe, 1, 600, Path("run"), Path("checkpoint"))) == line


def test_a_negative_value_before_no_value_stays() -> None:
    words = "train --drift {drift} {mode} --mode {mode} --{algorithm}-mode {mode} end"
    recipe = replace(command(words), hyperparameters={"drift": -0.5})
    line = command_line(Launch(recipe, 1, 600, Path("run"), Path("checkpoint")))
    assert line == ["train", "--drift", "-0.5", "end"]


def test_hydra_is_told_null() -> None:
    recipe = command("train ++a={a} {arguments}", argument="++{name}={value}")
    recipe = replace(recipe, hyperparameters={"a": None, "b": None})
    assert command_line(Launch(recipe, 1, 600, Path("run"), Path("checkpoint"))) == ["train", "++a=null", "++b=null"]


def test_the_last_words_of_a_progress_bar_are_short() -> None:
    output = Output()
    for number in range(100_000):
        output.write(f"\r{number} %")
    assert output.text().split("\n")[-2:] == ["99998 %", "99999 %"]
    assert len(output.text()) < 1_000


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


def test_a_functions_output_is_a_file_like_any_other(tmp_path: Path) -> None:
    result = train(FunctionBackend(), replace(function("chatty"), evaluation_points=1), tmp_path / "a")
    assert result.status == "completed", result.error


def test_a_function_that_was_edited_is_imported_again(tmp_path: Path) -> None:
    file = tmp_path / "edited.py"
    own = replace(function(function="edited:train", folder=str(tmp_path)), evaluation_points=1)
    scores = []
    for value in (1.0, 2.0):
        (tmp_path / "part.py").write_text(f"VALUE = {value}\n")
        file.write_text("from part import VALUE\n\ndef train(config, seed, budget, report):\n    return VALUE\n")
        os.utime(tmp_path / "part.py", (0, value / 10))  # two edits within a second
        scores.append(learned(train(FunctionBackend(), own, tmp_path / "run"))[-1][1]["return"])
        importlib.reload(sys.modules["edited"])  # as a notebook's user does
    assert scores == [1.0, 2.0]


def test_a_function_is_that_of_its_folder(tmp_path: Path) -> None:
    scores = []
    for value in (1.0, 2.0):
        (folder := tmp_path / str(value)).mkdir()
        (folder / "parts").mkdir()
        (folder / "parts" / "value.py").write_text(f"VALUE = {value}\n")
        (folder / "namesake.py").write_text(
            "from parts.value import VALUE\n\ndef train(config, seed, budget, report):\n    return VALUE\n"
        )
        own = replace(function(function="namesake:train", folder=str(folder)), evaluation_points=1)
        scores.append(learned(train(FunctionBackend(), own, folder / "run"))[-1][1]["return"])
    assert scores == [1.0, 2.0]


def test_where_a_trainer_is_identifies_no_run() -> None:
    here, there = function(), function(folder="/elsewhere")
    forks = [replace(each, hyperparameters={"drift": 1.0}, start=Start(each, 300)) for each in (here, there)]
    assert here.fingerprint(0) == there.fingerprint(0) != here.fingerprint(1)
    assert forks[0].fingerprint(0) == forks[1].fingerprint(0) != here.fingerprint(0)
    assert forks[0].in_folder("/elsewhere") == forks[1]


def test_a_function_that_catches_every_exception_is_stopped_all_the_same(tmp_path: Path) -> None:
    part = train(FunctionBackend(), function("careless", checkpoint=False), tmp_path / "a", until=180)
    assert [point.env_steps for point in part.curve] == [60, 120, 180]


@pytest.mark.parametrize("name", ["stubborn", "deaf"])
def test_a_function_that_catches_the_stop_is_interrupted_and_goes_on(name: str, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train_for(RecordingHost(tmp_path / "a", 200), FunctionBackend(), function(name))
    whole = learned(train(FunctionBackend(), function(), tmp_path / "b"))
    assert learned(train(FunctionBackend(), function(name), tmp_path / "a")) == whole


def test_a_function_that_had_reported_everything_when_it_was_stopped_has_ended(tmp_path: Path) -> None:
    recipe = function("thorough", checkpoint=False)
    result = train_for(RecordingHost(tmp_path / "a", recipe.env_steps + 1), FunctionBackend(), recipe)
    assert (result.status, len(result.curve)) == ("completed", 10)


def test_what_a_function_does_to_its_configuration_stays_with_it(tmp_path: Path) -> None:
    recipe = replace(function("growing"), hyperparameters={"net": [64]}, evaluation_points=1)
    for name in "ab":
        assert learned(train(FunctionBackend(), recipe, tmp_path / name))[-1][1] == {"return": 2.0}
    assert recipe.hyperparameters == {"net": [64]}


@pytest.mark.parametrize(
    ("recipe", "kind", "said"),
    [
        (function("broken"), "exception", "the reward model is gone"),
        (function("broken"), "exception", "about to fail"),
        (function("diverging"), "diverged", "after 60 steps return is nan"),
        (function("silent"), "exception", "ended after 300 of 600 environment steps, with 5 of 10 evaluations to go"),
        (function("handing"), "exception", "ended after 300 of 600 environment steps"),
        (function("mapping"), "exception", "ended after 300 of 600 environment steps"),
        (function("counting"), "exception", "ended after 540 of 600 environment steps, with 1 of 10"),
        (function("talkative"), "exception", "ended after 540 of 600 environment steps, with 1 of 10"),
        (function("once"), "exception", "ended after 0 of 600 environment steps, with 10 of 10 evaluations to go"),
        (function("leaving"), "exception", "it called sys.exit(2)"),
        (function("greedy"), "out_of_memory", "MemoryError"),
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
