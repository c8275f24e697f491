"""What programs write, well or badly, and where: in their output, or in a file that other runs wrote too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conformance.backends import RecordingHost, train, train_for

import autorl
from autorl.training.program.command import CommandBackend
from autorl.training.protocol import Interrupted
from autorl.trial import Recipe, RunResult

TESTS = str(Path(__file__).parents[2])


def program(code: str, *arguments: str, points: int = 1, **reports: Any) -> Recipe:
    """Return the recipe of a Python program that keeps no state."""
    read = {"format": "json", "file": None, "env_steps": "env_steps", "metrics": {}, "pattern": [], **reports}
    asked = {
        "function": None,
        "command": [sys.executable, "-c", code, *arguments],
        "argument": "--{name} {value}",
        "folder": "/",
        "variables": {},
        "reports": read,
        "checkpoint": False,
        "asked": ["return"],
    }
    return Recipe("command", "written", {}, {}, "Written", {}, (), 400, points, 1, True, program=asked)


def scores(recipe: Recipe, folder: Path, seed: int = 3) -> list[float]:
    result = train(CommandBackend(), recipe, folder / "state", seed=seed)
    assert result.status == "completed", result.error
    return [point.metrics["return"] for point in result.curve]


TABLE = """
import sys
with open(sys.argv[1], sys.argv[2]) as file:
    print("env_steps,return", file=file)
    for steps in range(10, 401, 10):
        print("%d,%r" % (steps, eval(sys.argv[3])), file=file)
"""


@pytest.mark.parametrize("mode", ["w", "a"])
@pytest.mark.parametrize("value", ["seed", "seed * 10 ** (seed % 5)", "500", "steps // 100 * seed"])
def test_a_table_that_each_run_writes_is_of_the_run_that_is_heard(mode: str, value: str, tmp_path: Path) -> None:
    """Be it longer than the one before it, shorter, as long, or the same to the last digit."""
    for seed in (3, 7, 4, 2):
        written = value.replace("seed", str(seed))
        recipe = program(TABLE, str(tmp_path / "log.csv"), mode, written, format="csv", file=str(tmp_path / "log.csv"))
        rows = [eval(written, {"steps": steps}) for steps in range(10, 401, 10)]
        assert scores(recipe, tmp_path, seed) == [pytest.approx(sum(rows) / len(rows))]


NESTED = '{"a":' * 100_000


@pytest.mark.parametrize(
    ("line", "report", "reports"),
    [
        ("x" * 200_000, "env_steps,return\n400,3", {"format": "csv"}),
        (NESTED, '{"env_steps": 400, "return": 3}', {}),
        ('{"env_steps": ' + "9" * 3_000_000, '{"env_steps": 400, "return": 3}', {}),
        (
            "return=nan",
            "return=3, step 400",
            {"format": "pattern", "pattern": [r"(?P<return>\d), step (?P<env_steps>\d+)"]},
        ),
    ],
)
def test_odd_lines_are_passed_over(line: str, report: str, reports: dict[str, Any], tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text(f"print({line!r})\nprint({report!r})\n")
    recipe = program("import runpy, sys; runpy.run_path(sys.argv[1])", str(code), **reports)
    assert scores(recipe, tmp_path) == [3.0]


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,234.5", 1234.5), ("12,", 12.0), ("1,234,567", 1234567.0), ("1e3", 1000.0), (" 7 ", 7.0), ("1_000", 1000.0)],
)
def test_numbers_are_read_as_people_write_them(text: str, number: float, tmp_path: Path) -> None:
    code = f"print('env_steps;400 return;' + {text!r})"
    pattern = [r"env_steps;(?P<env_steps>\d+) return;(?P<return>.+)"]
    assert scores(program(code, format="pattern", pattern=pattern), tmp_path) == [number]
    quoted = "import json; print(json.dumps({'env_steps': '400', 'return': " + repr(text) + "}))"
    assert scores(program(quoted), tmp_path) == [number]


@pytest.mark.parametrize("text", ["11,5", "0,875", "1,2345", "1,23,456", "n/a"])
def test_what_may_be_another_number_is_none(text: str, tmp_path: Path) -> None:
    code = f"print('400: ' + {text!r})"
    result = train(
        CommandBackend(),
        program(code, format="pattern", pattern=[r"(?P<env_steps>\d+): (?P<return>.+)"]),
        tmp_path / "state",
    )
    assert result.status == "failed"
    assert f"'return' was {text!r}, which is no number" in (result.error or "")


def test_a_program_that_never_stops_talking_is_ended(tmp_path: Path) -> None:
    code = """
steps = 0
while True:
    steps += 1
    print('{"env_steps": %d, "return": 1}\\n' % steps * 100)
"""
    assert scores(program(code), tmp_path) == [1.0]


class Late(RecordingHost):
    """Asks to stop a moment after the program was told by somebody else."""

    asked = 0

    def stopping(self) -> bool:
        self.asked += 1
        return self.asked > 8


def killed(code: str, folder: Path, host: type[RecordingHost]) -> RunResult:
    return train_for(host(folder / "state"), CommandBackend(), program(code))


KILLS: Sequence[str] = [
    f"import os; os.kill(os.getpid(), {signal.SIGTERM})",
    f"import sys; sys.exit({128 + signal.SIGTERM})",
]


@pytest.mark.parametrize("code", KILLS)
def test_a_program_that_is_stopped_with_its_study_has_not_crashed(code: str, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        killed(code, tmp_path, Late)


def test_a_program_that_is_stopped_by_another_has_crashed(tmp_path: Path) -> None:
    result = killed(KILLS[0], tmp_path, RecordingHost)
    assert (result.status, result.error_class) == ("failed", "crash")


ENGINE = """
import signal, sys
from pathlib import Path
from training.program.test_outputs import program, scores

signal.signal(signal.SIGINT, lambda *_: None)
print(scores(program(Path(sys.argv[1]).read_text(), sys.argv[2]), Path(sys.argv[2])))
"""
PATIENT = """
import json, sys, time
from pathlib import Path

folder = Path(sys.argv[1])
(folder / "started").touch()
while not (folder / "go").exists():
    time.sleep(0.05)
print(json.dumps(dict(env_steps=400) | {"return": 2}))
"""


def test_ctrl_c_in_a_terminal_is_not_for_the_program(tmp_path: Path) -> None:
    """The engine, in whose own process it is trained, has it, and says what becomes of the run."""
    (tmp_path / "program.py").write_text(PATIENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([TESTS, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", ENGINE, str(tmp_path / "program.py"), str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, process_group=0) as engine:
        while not (tmp_path / "started").exists():
            assert engine.poll() is None
            time.sleep(0.05)
        os.killpg(engine.pid, signal.SIGINT)
        (tmp_path / "go").touch()
        assert engine.communicate(timeout=120)[0] == "[2.0]\n"


def test_a_program_may_end_its_own_by_sigint_in_a_worker_too(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import json, signal, subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "child.send_signal(signal.SIGINT)\n"
        "print(json.dumps({'env_steps': 100, 'return': float(child.wait(60))}))\n"
    )
    asked = {
        "study": "ends",
        "storage": f"sqlite:///{tmp_path}/study.db",
        "task": {"env": "Own"},
        "algorithm": {"backend": "command", "name": "own"},
        "program": {"command": "{python} train.py {x}", "folder": str(tmp_path)},
        "search_space": {"parameters": {"x": {"min": 0.0, "max": 1.0}}},
        "seeds": {"tuning": range(1), "test": range(100, 101)},
        "budget": {"trials": 1, "steps_per_run": 100},
        "evaluation": {"points": 1},
        "execution": {"executor": "processes", "workers": 1},
    }
    study = autorl.tune(asked, progress=False)
    assert {*study.runs()["score"]} == {-float(signal.SIGINT)}


def test_a_table_that_is_only_touched_first_is_the_programs_once_it_writes(tmp_path: Path) -> None:
    table = tmp_path / "log.csv"
    table.write_text("env_steps,return\n400,99\n")
    code = "import os, sys, time; os.utime(sys.argv[1]); time.sleep(0.6); open(sys.argv[1], 'a').write('400,1\\n')"
    assert scores(program(code, str(table), format="csv", file=str(table)), tmp_path) == [1.0]


def test_text_that_nobody_asked_for_is_no_metric(tmp_path: Path) -> None:
    code = "import json; print(json.dumps(dict(env_steps='400', commit='1234567') | {'return': '1.5'}))"
    result = train(CommandBackend(), program(code), tmp_path / "state")
    assert result.curve[-1].metrics == {"return": 1.5}
