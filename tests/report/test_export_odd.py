"""Exports of what is unusual but allowed: line breaks in names and values, null as a choice, words of a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ConfigSpace
import pytest
import yaml
from small_study import ignore
from typer.testing import CliRunner

import autorl
from autorl.cli.app import app
from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.errors import AutorlError, SpecError
from autorl.ledger.reader import Reader
from autorl.ledger.records import TrialRecord
from autorl.report.export import fitting, render
from autorl.report.findings import Findings, gather
from autorl.spec.load import draft_study, load_space

PROGRAMS = Path(sys.prefix) / "programs"
ECHO = """\
import json, os, sys

print(json.dumps({"env_steps": 100, "return": 1.0}))
print(json.dumps({"arguments": sys.argv[1:], "RUN": os.environ["RUN"], "SEED": os.environ["SEED"]}))
"""
LITERALS = {
    "mode": "on",
    "time": "1:30",
    "width": "010",
    "hex": "0x10",
    "rate": "1e-3",
    "count": "12",
    "flag": "True",
    "none": "null",
    "most": "inf",
    "zeros": "00.5",
    "sizes": "[64,1e3]",
    "mixed": "[on,010,'12']",
    "nested": "{a:on,b:[yes,0x10]}",
    "text": "'12'",
}
STUDY = {
    "study": "odd",
    "task": {"env": "Odd"},
    "algorithm": {"backend": "command", "name": "x\necho hidden >&2; echo hi"},
    "search_space": {
        "parameters": {
            "clip": {"values": [0.2, None], "default": 0.2},
            "tiny": {"min": 1e-12, "max": 1e-9, "log": True},
            "text": {"values": ["a\nb: c", "d"]},
        }
    },
    "seeds": {"tuning": range(1), "test": range(100, 102)},
    "budget": {"trials": 2, "steps_per_run": 100},
    "evaluation": {"points": 1},
    "optimizer": {"enqueue": [{"clip": None, "tiny": 2.794968525079504e-10, "text": "a\nb: c"}]},
    "execution": {"executor": "inline"},
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "echo.py").write_text(ECHO)
    words = ["{python}", "echo.py", "--seed", "{seed}", "--out", "{run_folder}/logs"]
    words += [f"++agent.{name}={{{name}}}" for name in ("clip", "tiny", "text")]
    words += [f"++agent.own.{name}={text}" for name, text in LITERALS.items()]
    variables = {"RUN": "cart-{algorithm}", "SEED": "1{seed}"}
    asked = {
        **STUDY,
        "program": {"command": words, "folder": str(folder), "variables": variables},
        "storage": f"sqlite:///{folder}/odd.db",
    }
    spec = check(draft_study(asked, ()))
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        return gather(reader, "odd")


def chosen(found: Findings) -> TrialRecord:
    return found.trials[1]


def test_line_breaks_in_names_and_values_end_no_comment(odd: Findings) -> None:
    for form in fitting("command"):
        text = render(odd, chosen(odd), form)
        if form in ("json", "configspace"):
            json.loads(text)
        elif form != "command":  # which is run below
            assert yaml.safe_load(text)


def test_the_command_passes_what_the_study_passed(odd: Findings, tmp_path: Path) -> None:
    script = tmp_path / "winner.sh"
    script.write_text(render(odd, chosen(odd), "command"))
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    done = subprocess.run(["sh", str(script), "7"], env=environment, capture_output=True, text=True, check=True)
    heard = json.loads(done.stdout.splitlines()[-1])
    assert odd.spec.program is not None
    run = Path(odd.spec.program.folder) / f"odd-trial{chosen(odd).number}-seed7"
    assert heard["arguments"][:4] == ["--seed", "7", "--out", f"{run}/logs"]
    assert (heard["SEED"], heard["RUN"]) == ("17", f"cart-{STUDY['algorithm']['name']}")  # type: ignore[index]
    assert done.stderr == ""


def test_a_default_of_configspace_is_what_was_chosen(odd: Findings, tmp_path: Path) -> None:
    file = tmp_path / "space.json"
    file.write_text(render(odd, chosen(odd), "configspace"))
    default = dict(ConfigSpace.ConfigurationSpace.from_json(file).get_default_configuration())
    clip, text = odd.spec.space["clip"], odd.spec.space["text"]
    assert (default["clip"], default["text"]) == (clip.coordinate(None), text.coordinate("a\nb: c"))
    assert load_space(file)["tiny"].default == 2.794968525079504e-10


def test_null_can_be_enqueued_where_it_is_a_choice(odd: Findings) -> None:
    assert chosen(odd).config.values["clip"] is None


def test_a_sweep_says_that_null_was_chosen(odd: Findings) -> None:
    assert f"# trial {chosen(odd).number}: None" in render(odd, chosen(odd), "wandb-sweep")


READ = """\
import json, sys
from hydra.core.override_parser.overrides_parser import OverridesParser
read = OverridesParser.create().parse_override
print(json.dumps({name: read(f"a={text}").value() for name, text in json.loads(sys.argv[1]).items()}, default=str))
"""


def test_literal_overrides_are_read_as_hydra_reads_them(odd: Findings) -> None:
    command = [sys.executable, "-c", READ, json.dumps(LITERALS)]
    environment = {**os.environ, "PYTHONPATH": str(PROGRAMS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    ours = yaml.safe_load(render(odd, chosen(odd), "hydra"))["agent"]["own"]
    assert json.loads(json.dumps(ours)) == json.loads(done.stdout)


def exported(odd: Findings, out: str) -> Any:
    command = ["export", "odd", "--storage", odd.spec.storage, "--format", "json", "--trial", "1", "--out", out]
    return CliRunner().invoke(app, command)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Make a named pipe that somebody reads."""
    file, heard = tmp_path / "pipe", list[str]()
    os.mkfifo(file)
    reading = threading.Thread(target=lambda: heard.append(file.read_text()), daemon=True)
    reading.start()
    yield file, heard
    reading.join(60)


def test_a_pipe_takes_what_is_exported_and_stays(odd: Findings, pipe: tuple[Path, list[str]]) -> None:
    file, heard = pipe
    assert exported(odd, str(file)).exit_code == 0
    assert file.is_fifo()
    for _ in range(600):
        if heard:
            break
        threading.Event().wait(0.1)
    assert heard == [render(odd, chosen(odd), "json")]


def test_standard_output_is_printed_to_however_it_is_called(odd: Findings, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autorl", "export", "odd", "--storage", odd.spec.storage, "--trial", "1"]
    command += ["--format", "json", "--out", "/dev/stdout"]
    whole = render(odd, chosen(odd), "json")
    with (tmp_path / "winner.json").open("w") as file:
        subprocess.run(command, stdout=file, check=True)
    assert (tmp_path / "winner.json").read_text() == whole
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == whole
    assert Path("/dev/stdout").is_symlink()


def test_a_folder_is_no_file(odd: Findings, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    for out, said in ((str(tmp_path), "is a folder"), (".", "is a folder"), (str(tmp_path / "f" / "x"), "cannot be")):
        failed = exported(odd, out)
        assert isinstance(failed.exception, AutorlError)
        assert said in str(failed.exception)


def test_numbers_that_are_not_finite_are_refused_from_code_as_from_a_file() -> None:
    asked = {**STUDY, "algorithm": {"name": "ppo", "fixed": {"max_grad_norm": float("inf")}}}
    asked["search_space"] = {"parameters": {"gamma": {"min": 0.5, "max": float("nan")}}}
    with pytest.raises(SpecError) as refused:
        autorl.validate(asked)
    assert "algorithm.fixed.max_grad_norm: must be a finite number" in str(refused.value)
    assert "search_space.parameters.gamma.max: must be a finite number" in str(refused.value)
