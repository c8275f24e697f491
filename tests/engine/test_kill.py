"""`kill -9` of the engine at any moment: nothing that finished is trained again, and the study comes out the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from small_study import write

from autorl.errors import StorageError
from autorl.ledger.reader import Reader

TESTS = str(Path(__file__).parents[1])
OVERRIDES = ("optimizer.name=tpe", "budget.trials=12", "execution.executor=processes", "execution.workers=2")


def start(file: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": TESTS}
    command = [sys.executable, "-m", "autorl", "run", str(file), *OVERRIDES]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)


def outcome(url: str) -> dict[str, object]:
    with Reader(url) as reader:
        study, trials, runs = reader.study("small"), reader.trials("small"), reader.runs("small")
        curves = reader.curves("small", [t.number for t in trials])
    return {
        "state": study.state,
        "winner": study.winner,
        "proposed": [(t.number, json.dumps(dict(t.config.coordinates)), t.seen) for t in trials],
        "values": [t.value for t in trials],
        "scores": [(r.run, r.state, r.score, r.env_steps) for r in runs],
        "curves": [(c.run, [(p.env_steps, p.metrics) for p in c.points]) for c in curves],
    }


def completed(url: str) -> dict[object, tuple[object, ...]]:
    try:
        with Reader(url) as reader:
            return {
                r.run: (r.attempts, r.started_at, r.finished_at) for r in reader.runs("small") if r.state == "completed"
            }
    except StorageError:  # killed before the database was there
        return {}


def mirror(url: str) -> list[tuple[int, str, float | None, dict[str, object]]]:
    study = optuna.load_study(study_name="small", storage=url)
    return [(t.number, t.state.name, t.value, t.params) for t in study.trials]


@pytest.mark.parametrize("kills", [pytest.param(3, id="short"), pytest.param(25, id="long", marks=pytest.mark.slow)])
def test_kill_nine_loses_nothing_and_repeats_nothing(kills: int, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    assert start(write(tmp_path / "whole")).wait(timeout=300) == 0
    expected = f"sqlite:///{tmp_path}/whole/study.db"

    file, url, generator = write(tmp_path / "killed"), f"sqlite:///{tmp_path}/killed/study.db", random.Random(5)
    done: dict[object, tuple[object, ...]] = {}
    for _ in range(kills):
        engine = start(file)
        # Let it finish something, or take up what was left, so that every kill falls into the training.
        while completed(url).keys() == done.keys() and engine.poll() is None:
            time.sleep(0.02)
        time.sleep(generator.uniform(0.0, 1.0))
        engine.send_signal(signal.SIGKILL)
        engine.wait()
        now = completed(url)
        assert {run: now[run] for run in done} == done, "a completed run was lost or trained again"
        done = now
    assert start(file).wait(timeout=300) == 0
    now = completed(url)
    assert {run: now[run] for run in done} == done
    assert outcome(url) == outcome(expected)
    assert mirror(url) == mirror(expected)
