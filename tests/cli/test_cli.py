"""The command line as its users meet it."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from processes import alive
from rich.text import Text
from small_study import load, write

from autorl.cli.app import app
from autorl.ledger.book import Book
from autorl.ledger.reader import Reader
from autorl.report.findings import gather
from autorl.shipped import folder
from autorl.training.sb3.algorithms import ALGORITHMS


def storage(finished: Path) -> tuple[str, str]:
    return "--storage", f"sqlite:///{finished}/study.db"


def helps(command: Any, name: str = "autorl") -> Iterator[tuple[str, str]]:
    """Go through what each command says of itself and of its parameters."""
    yield name, command.help or ""
    yield from ((f"{name} {parameter.name}", getattr(parameter, "help", None) or "") for parameter in command.params)
    for word, below in getattr(command, "commands", {}).items():
        yield from helps(below, f"{name} {word}")


def test_help_shows_all_that_it_says() -> None:
    told = dict(helps(typer.main.get_command(app)))
    assert "(default: the winner, or the incumbent)" in told["autorl export trial"]
    # Rich takes what stands in brackets for a style, and shows nothing of it.
    assert {name: Text.from_markup(text).plain for name, text in told.items()} == told


def test_help_imports_nothing_heavy() -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "autorl", "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {
        "torch",
        "ray",
        "smac",
        "jax",
        "streamlit",
        "optuna",
        "pydantic",
        "sqlalchemy",
        "numpy",
        "pandas",
    }
    for command in (
        "init",
        "validate",
        "run",
        "status",
        "best",
        "trials",
        "test",
        "report",
        "export",
        "dashboard",
        "schema",
    ):
        assert command in result.stdout


def test_loading_a_study_imports_no_backend(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from autorl.spec.load import load_study; "
    code += f"load_study(Path({str(write(tmp_path))!r}))"
    code += "; print(sorted({'torch', 'ray', 'smac', 'jax', 'optuna', 'gymnasium'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_run_reports_and_says_what_next(autorl: Any, tmp_path: Path) -> None:
    file = write(tmp_path)
    # A default that cannot learn, so that tuning has something to find.
    overrides = ("budget.trials=5", "search_space.parameters.learning_rate.default=1e-9")
    first = autorl("run", str(file), *overrides)
    assert first.code == 0
    assert re.search(r"tuned\s+\S+\s+95% interval", first.out)
    assert re.search(r"probability that tuned is better\s+\S+\s+95% interval", first.out)
    assert "3 test seeds, never used in tuning" in first.out
    assert "autorl export small --format sb3" in first.out
    second = autorl("run", str(file), *overrides)
    assert second.code == 0
    assert "trial 0:" not in second.out
    assert second.out in first.out


def test_a_mistake_exits_two_with_one_line_each(autorl: Any, tmp_path: Path) -> None:
    file = write(tmp_path)
    text = file.read_text()
    for right, wrong in (
        ("name: ppo", "name: pppo"),
        ("trials: 6", "trials: 0"),
        ("optimizer: {name: random", "optimizer: {name: randm"),
    ):
        assert right in text
        text = text.replace(right, wrong)
    file.write_text(text)
    answer = autorl("run", str(file))
    assert answer.code == 2
    lines = answer.err.splitlines()
    assert lines[-1] == "3 problems; nothing was started."
    assert [line.removeprefix(f"{file}:").partition(":")[0] for line in lines[:-1]] == ["3", "14", "16"]
    assert "did you mean 'ppo'?" in lines[0]
    assert "did you mean 'random'?" in lines[2]
    assert not (tmp_path / "study.db").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "nowhere.yaml"), "nowhere.yaml: cannot be read: No such file or directory"),
        (("best", "smal"), "holds no study 'smal'; did you mean 'small'?"),
        (("export", "small", "--trial", "99"), "has no trial 99"),
        (("init", "pppo", "CartPole-v1"), "no search space for 'pppo'; did you mean 'ppo'?"),
    ],
)
def test_other_mistakes_too(autorl: Any, finished: Path, arguments: tuple[str, ...], says: str) -> None:
    where = storage(finished) if arguments[0] in ("best", "export") else ()
    answer = autorl(*arguments, *where)
    assert answer.code == 2
    assert says in answer.err
    assert "Traceback" not in answer.err


def test_no_database_yet_says_what_to_do(autorl: Any, tmp_path: Path) -> None:
    answer = autorl("status", "--storage", f"sqlite:///{tmp_path}/none.db")
    assert answer.code == 2
    assert "`autorl run` creates it" in answer.err


def test_lists_in_every_format(autorl: Any, finished: Path) -> None:
    for command in ("status", "trials", "best"):
        as_json = json.loads(autorl(command, "small", *storage(finished), "--format", "json").out)
        as_yaml = yaml.safe_load(autorl(command, "small", *storage(finished), "--format", "yaml").out)
        as_csv = list(csv.DictReader(io.StringIO(autorl(command, "small", *storage(finished), "--format", "csv").out)))
        assert as_yaml == as_json
        rows = as_json if isinstance(as_json, list) else [as_json]
        assert len(as_csv) == len(rows)
        assert "small" in str(as_json) or command == "trials"
        assert autorl(command, "small", *storage(finished)).code == 0


def test_numbers_agree_everywhere(autorl: Any, finished: Path) -> None:
    with Reader(storage(finished)[1]) as reader:
        found = gather(reader, "small")
    assert found.headline is not None
    assert found.winner is not None
    report = json.loads(autorl("report", "small", *storage(finished), "--format", "json").out)
    assert report["headline"]["tuned"]["value"] == found.headline.tuned.value
    assert report["headline"]["probability_better"]["low"] == found.headline.probability.low
    best = json.loads(autorl("best", "small", *storage(finished), "--format", "json").out)
    assert (best["trial"], best["test_value"], best["params"]) == (
        found.winner.number,
        found.headline.tuned.value,
        dict(found.winner.config.values),
    )
    trials = json.loads(autorl("trials", *storage(finished), "--format", "json").out)
    assert [row["trial"] for row in trials] == [t.number for t in found.ranked]


def test_an_unfinished_study_is_shown_as_such(autorl: Any, tmp_path: Path) -> None:
    spec = load(tmp_path)
    with Book(spec, max_pending=1, waiting=print):
        live = autorl("status", "--storage", spec.storage)
    assert "tuning, running" in live.out
    assert "tuning, stopped" in autorl("status", "--storage", spec.storage).out
    assert "No trial has finished yet." in autorl("report", "--storage", spec.storage).out
    answer = autorl("best", "--storage", spec.storage)
    assert answer.code == 2
    assert "no trial of 'small' has finished yet" in answer.err


def test_failed_trials_show_their_error(autorl: Any, tmp_path: Path) -> None:
    broken = ("task.env=probe_envs:autorl-tests/Broken-v0", 'task.env_kwargs={"how": "raise"}', "budget.trials=1")
    ran = autorl("run", str(write(tmp_path)), *broken)
    assert ran.code == 0
    assert "Every trial failed" in ran.out
    listed = autorl("trials", "small", "--failed", "--storage", f"sqlite:///{tmp_path}/study.db")
    assert "RuntimeError: the simulator broke" in listed.out


def test_validate_shows_the_study_its_space_and_its_cost(autorl: Any, tmp_path: Path) -> None:
    answer = autorl("validate", str(write(tmp_path)), "budget.trials=5")
    assert answer.code == 0
    assert "trials: 5" in answer.out
    assert "5 configurations drawn at random" in answer.out
    assert "2,560 environment steps: as many as 20 runs of 128 (tuning 10, validation 4, test 6)" in answer.out
    assert re.search(r"About \d+ (s|min)", answer.out)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_init_writes_a_study_that_validates(autorl: Any, tmp_path: Path, algorithm: str) -> None:
    continuous = ("sac", "td3", "ddpg", "tqc", "crossq", "ppo_lagrangian")
    env = "Pendulum-v1" if algorithm in continuous else "CartPole-v1"
    file = tmp_path / "new.yaml"
    assert autorl("init", algorithm, env, "--out", str(file)).code == 0
    text = file.read_text()
    assert ("cost: info" in text) == (algorithm == "ppo_lagrangian")
    file.write_text(text.replace("cost: info ", "cost: probe_envs:swing "))  # a pendulum's info has no cost
    from autorl.engine.check import check
    from autorl.spec.load import draft_study

    assert check(draft_study(file)).algorithm.name == algorithm
    again = autorl("init", algorithm, env, "--out", str(file))
    assert again.code == 2
    assert "exists" in again.err


def test_every_shipped_study_passes_every_check() -> None:
    from autorl.engine.check import check
    from autorl.spec.load import draft_study

    files = sorted(folder("studies").glob("*.yaml"))
    assert len(files) >= 6
    names = [check(draft_study(file)).study for file in files]
    assert names == [file.stem for file in files]


def test_schema_prints_json_schema(autorl: Any) -> None:
    study, space = (json.loads(autorl("schema", which).out) for which in ("study", "space"))
    assert "seeds" in study["properties"]
    assert "parameters" in space["properties"]


def test_space_converts_there_and_back(autorl: Any, tmp_path: Path) -> None:
    there, back = tmp_path / "there.json", tmp_path / "back.yaml"
    source = folder("search_spaces") / "ppo.yaml"
    assert autorl("space", str(source), "--out", str(there)).code == 0
    assert autorl("space", str(there), "--to", "autorl", "--out", str(back)).code == 0
    from autorl.spec.load import load_space

    a, b = load_space(source), load_space(back)
    assert {p.name: (p.domain, p.transform, p.when, p.sets) for p in a} == {
        p.name: (p.domain, p.transform, p.when, p.sets) for p in b
    }


def test_the_dashboard_binds_this_machine_only_and_ends_with_its_command(finished: Path) -> None:
    import psutil
    from served import served

    with served(["autorl", "dashboard", "--headless", *storage(finished)], "--port=") as (server, _):
        everyone = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        listening = {c.laddr.ip for p in everyone for c in p.net_connections() if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        server.terminate()
        server.wait(timeout=20)
        assert not any(map(alive, everyone))
