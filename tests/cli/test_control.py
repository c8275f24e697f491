"""Stop, watch, retry and replay a study, and look after its database, from the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from small_study import ignore, kwargs, load, write

from autorl.engine.conductor import conduct
from autorl.errors import StorageError
from autorl.ledger.book import Book
from autorl.ledger.reader import Reader

TESTS = str(Path(__file__).parents[1])
PACED = (
    "task.env=probe_envs:autorl-tests/Paced-v0",
    "task.env_kwargs={seconds: 0.05}",
    "execution={executor: processes, workers: 2}",
    "budget={trials: 2, steps_per_run: 1280}",
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a study that takes a minute in another process, and wait until it trains."""
    command = [sys.executable, "-m", "autorl", "run", str(write(tmp_path)), *PACED]
    environment = {**os.environ, "PYTHONPATH": TESTS, "COLUMNS": "100"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        deadline = time.monotonic() + 180
        while sum(run.state == "running" and run.env_steps > 0 for run in runs(tmp_path)) < 2:
            assert started.poll() is None, started.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield started
        started.kill()


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/study.db"


def runs(folder: Path) -> list[Any]:
    try:
        with Reader(url(folder)) as reader:
            return reader.runs("small")
    except StorageError:  # the engine has not made it yet
        return []


def test_stop_saves_what_is_in_training(engine: subprocess.Popen[str], autorl: Any, tmp_path: Path) -> None:
    answer = autorl("stop", "small", "--storage", url(tmp_path))
    assert (answer.code, answer.err) == (0, "")
    assert f"Asked process {engine.pid}" in answer.out
    assert "It has stopped." in answer.out
    out, err = engine.communicate(timeout=120)
    assert (engine.returncode, err) == (0, "")
    assert "Stopped, with the runs in training saved. Go on with:" in out
    assert [run.checkpoint is not None for run in runs(tmp_path) if run.attempts] == [True, True]
    again = autorl("stop", "small", "--storage", url(tmp_path))
    assert (again.code, again.err) == (2, "error: no engine conducts study 'small'\n")


def test_watch_follows_to_the_end(engine: subprocess.Popen[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autorl", "watch", "small", "--storage", url(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        time.sleep(3.0)
        assert watching.poll() is None, "it watches while the engine works"
        engine.send_signal(signal.SIGTERM)
        out, _ = watching.communicate(timeout=120)
    assert watching.returncode == 0
    assert "No engine conducts 'small'; it is in its tuning phase." in " ".join(out.split())


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM], ids=["ctrl_c", "timeout"]
)
def test_what_is_sent_to_the_group_saves_what_is_in_training(
    number: signal.Signals, engine: subprocess.Popen[str], tmp_path: Path
) -> None:
    os.killpg(engine.pid, number)  # as a terminal and `timeout` do: to the engine and whatever it has started
    stopped(engine, tmp_path)


def test_what_is_sent_to_every_process_saves_what_is_in_training(engine: subprocess.Popen[str], tmp_path: Path) -> None:
    whole = psutil.Process(engine.pid)
    for process in [whole, *whole.children(recursive=True)]:  # as systemd and Slurm do
        process.terminate()
    stopped(engine, tmp_path)


def stopped(engine: subprocess.Popen[str], folder: Path) -> None:
    """Look at what an engine that was told to stop has left."""
    out, _ = engine.communicate(timeout=120)
    assert engine.returncode == 130
    assert "stopping: the runs in training save their state" in out
    begun = [run for run in runs(folder) if run.attempts]
    assert [(run.state, run.checkpoint is not None) for run in begun] == [("waiting", True)] * 2


def test_two_ctrl_cs_stop_at_once(engine: subprocess.Popen[str], tmp_path: Path) -> None:
    assert engine.stdout is not None
    os.killpg(engine.pid, signal.SIGINT)
    while "stopping: " not in (line := engine.stdout.readline()):  # two that come at once would be one
        assert line
    os.killpg(engine.pid, signal.SIGINT)
    out, err = engine.communicate(timeout=120)
    assert engine.returncode == 130, err
    assert "Go on with:" in out or "go on with:" in out
    with Reader(url(tmp_path)) as reader:
        assert not reader.study("small").live


def test_failed_runs_get_another_chance(autorl: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    broken = (
        "task.env=probe_envs:autorl-tests/Broken-v0",
        kwargs(how="raise", log=str(log), times=2),
        "budget.trials=2",
    )
    autorl("run", str(write(tmp_path)), *broken)
    with Reader(url(tmp_path)) as reader:
        (failed,) = [run for run in reader.runs("small") if run.state == "failed"]
    assert (
        autorl("retry", "small", "--storage", url(tmp_path)).err
        == "error: say which runs: --failed, --stale, or both\n"
    )
    answer = autorl("retry", "small", "--failed", "--storage", url(tmp_path))
    assert f"trial {failed.trial}, tuning seed {failed.seed} waits to be trained again" in answer.out
    assert "'small' has no failed runs." in autorl("retry", "--failed", "--storage", url(tmp_path)).out
    assert autorl("run", str(write(tmp_path)), *broken).code == 0
    with Reader(url(tmp_path)) as reader:
        trials, after = reader.trials("small"), reader.runs("small")
        assert reader.study("small").state == "finished"
    assert all(run.state == "completed" for run in after)
    assert all(trial.value is not None for trial in trials)
    mirrored = optuna.load_study(study_name="small", storage=url(tmp_path)).trials
    assert [t.value for t in mirrored] == [t.value for t in trials]


def test_runs_that_nobody_trains_are_released(autorl: Any, tmp_path: Path) -> None:
    import states

    spec = states.make("proposed", tmp_path)
    assert "is marked as training, but no engine is" in autorl("storage", "check", "--storage", spec.storage).out
    answer = autorl("retry", "--stale", "--storage", spec.storage)
    assert "trial 0, tuning seed 0 waits to be trained again" in answer.out
    assert autorl("storage", "check", "--storage", spec.storage).code == 0


def test_a_paused_study_says_what_to_do(autorl: Any, tmp_path: Path) -> None:
    broken = ("task.env=probe_envs:autorl-tests/Broken-v0", kwargs(how="raise"))
    answer = autorl("run", str(write(tmp_path)), *broken)
    assert answer.code == 2
    assert answer.err.startswith("error: paused: trials 0, 1, 2 failed with the same traceback:\nTraceback")
    assert "RuntimeError: the simulator broke" in answer.err
    assert f"autorl retry --failed small --storage {url(tmp_path)}" in answer.err
    assert "tuning, paused" in autorl("status", "--storage", url(tmp_path)).out
    assert "Paused: trials 0, 1, 2 failed" in autorl("report", "--storage", url(tmp_path)).out


def test_replay_proposes_and_trains_the_same_again(autorl: Any, tmp_path: Path) -> None:
    conduct(load(tmp_path, "optimizer.name=tpe", "budget.trials=4"), ignore)
    here, there = ("--storage", url(tmp_path)), f"sqlite:///{tmp_path}/again.db"
    answer = autorl("replay", "small", *here, "--into", there)
    assert (answer.code, answer.err) == (0, "")
    assert "4 of 4 proposals of 'small' are the same again." in answer.out
    assert "Every result and learning curve of 'small' is the same again." in answer.out
    assert "this one holds the study" in autorl("replay", "small", *here, "--into", url(tmp_path)).err


def test_a_study_that_began_with_anothers_configurations_is_conducted_again_elsewhere(
    autorl: Any, tmp_path: Path
) -> None:
    conduct(load(tmp_path, "study=earlier", "budget.trials=3"), ignore)
    conduct(load(tmp_path, "budget.trials=4", "optimizer={name: tpe, transfer: {study: earlier, top: 2}}"), ignore)
    answer = autorl("replay", "small", "--storage", url(tmp_path), "--into", f"sqlite:///{tmp_path}/again.db")
    assert (answer.code, answer.err) == (0, "")


def test_a_database_is_checked_copied_and_upgraded(autorl: Any, finished: Path, tmp_path: Path) -> None:
    here = ("--storage", url(finished))
    checked = autorl("storage", "check", *here)
    assert checked.code == 0
    assert "small: whole" in checked.out
    other = f"sqlite:///{tmp_path}/other.db"
    assert autorl("storage", "copy", url(finished), other).out == "Copied small\n"
    digests = [
        line.split()[-1]
        for line in (checked.out + autorl("storage", "check", "--storage", other).out).splitlines()
        if "digest" in line
    ]
    assert digests[0] == digests[1]
    assert autorl("storage", "upgrade", *here).out == "The tables are up to date (0005).\n"
    assert autorl("storage", "upgrade", "--storage", f"sqlite:///{tmp_path}/none.db").code == 2


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a\nb", "", "a" * 101, "-rf", "nul\0"])
def test_hostile_study_names_are_refused(name: str, autorl: Any, tmp_path: Path) -> None:
    file = write(tmp_path)
    quoted = '"' + name.replace("\n", "\\n").replace("\0", "\\0") + '"'
    file.write_text(file.read_text().replace("study: small", f"study: {quoted}"))
    answer = autorl("run", str(file))
    assert answer.code == 2
    assert "small.yaml:1: study:" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize("out", ["", ".", "nowhere/at/all.py", "/proc/none.py"])
def test_an_export_that_cannot_be_written_is_named(out: str, autorl: Any, finished: Path, tmp_path: Path) -> None:
    target = out if out.startswith("/") else str(tmp_path / out)
    answer = autorl("export", "small", "--out", target, "--storage", url(finished))
    assert answer.code == 2
    assert "cannot be written" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_an_export_follows_no_link(autorl: Any, finished: Path, tmp_path: Path) -> None:
    (victim := tmp_path / "victim").write_text("mine")
    (folder := tmp_path / "folder").mkdir()
    for name in ("train.py", f".train.py.{os.getpid()}.tmp"):
        (folder / name).symlink_to(victim)
    refused = autorl("export", "small", "--out", str(folder / "train.py"), "--storage", url(finished))
    assert "cannot be written: File exists" in refused.err
    (folder / f".train.py.{os.getpid()}.tmp").unlink()
    assert autorl("export", "small", "--out", str(folder / "train.py"), "--storage", url(finished)).code == 0
    assert victim.read_text() == "mine"
    assert not (folder / "train.py").is_symlink()


def test_a_second_engine_is_refused_with_what_to_do(autorl: Any, tmp_path: Path) -> None:
    spec = load(tmp_path)
    with Book(spec, 1, print):
        answer = autorl("run", str(tmp_path / "small.yaml"))
    assert answer.code == 2
    assert "is being conducted by process" in answer.err
    assert "autorl stop small" in answer.err
