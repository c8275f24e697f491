"""`kill -9` of the engine before and after every kind of commit, and of workers at any moment, on every database.

Nothing that finished is lost or trained again, and the study comes out the same. `make test` runs a short form;
`make faults` the long one, which prints its counts.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import databases
import optuna
import psutil
import pytest
from quickly import some
from small_study import write

from autorl.errors import StorageError
from autorl.ledger.digest import digest
from autorl.ledger.maintenance import check
from autorl.ledger.mirror import optuna_storage
from autorl.ledger.reader import Reader
from autorl.ledger.records import RunRecord

TESTS = str(Path(__file__).parents[1])
ENGINE = str(Path(__file__).parent / "engine.py")
# What writes while a study runs without a fault, so that an engine can be told to die there.
KINDS = (
    "add_proposal",
    "finish_run",
    "write",
    "start_run",
    "save_checkpoint",
    "enter",
    "_take",
    "any",
    "beat",
    "add_runs",
)


@dataclass
class Storm:
    """How many kills, and how long the study is that they fall into.

    `asked` are further overrides, after those that all storms have.
    """

    engines: int
    workers: int
    trials: int
    pace: float
    at_a_time: int
    asked: tuple[str, ...] = ()


SHORT = Storm(engines=2, workers=1, trials=3, pace=0.002, at_a_time=2)
LONG = Storm(engines=50, workers=200, trials=200, pace=0.085, at_a_time=8)
# Two objectives and a constraint that some trials break.
TRADED = (
    "task.env=probe_envs:autorl-tests/Risky-v0",
    "task.cost=info.risk",
    "objectives=[{metric: return}, {metric: cost, direction: minimize}]",
    "constraints=[{metric: cost, at_most: 0.3, probability: 0.6}]",
)


@dataclass
class Count:
    """What a storm did and what it cost."""

    engines: Counter[str] = field(default_factory=Counter)
    workers: int = 0
    seconds: float = 0.0
    quiet_seconds: float = 0.0
    completed: int = 0
    starts: int = 0


def start(
    file: Path, storm: Storm, url: str, death: tuple[str, int, str] = ("any", 0, "never")
) -> subprocess.Popen[bytes]:
    overrides = (
        f"storage={url}",
        "task.env=probe_envs:autorl-tests/Paced-v0",
        f"task.env_kwargs={{seconds: {storm.pace}}}",
        "optimizer={name: tpe, seed: 1, max_pending: 4}",
        f"budget.trials={storm.trials}",
        f"execution={{executor: processes, workers: {storm.at_a_time}, checkpoint_seconds: 0.5}}",
        *storm.asked,
    )
    command = [sys.executable, ENGINE, str(file.parent / "commits"), *map(str, death), str(file), *overrides]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS}{os.pathsep}{Path(TESTS).parent}",
        "XDG_STATE_HOME": str(file.parent / "state"),
    }
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)


def runs(url: str) -> list[RunRecord]:
    try:
        with Reader(url) as reader:
            return reader.runs("small")
    except StorageError:  # killed before the database was there
        return []


def completed(url: str) -> dict[object, tuple[object, ...]]:
    return {r.run: (r.attempts, r.started_at, r.finished_at) for r in runs(url) if r.state == "completed"}


def kill_a_worker(engine: subprocess.Popen[bytes], url: str, generator: random.Random) -> bool:
    """Kill one process that trains, unless a run is left with its last try: the third crash of a run is final."""
    if any(len(run.tries) >= 2 for run in runs(url) if run.state not in ("completed", "failed")):
        return False
    try:
        servers = psutil.Process(engine.pid).children()
        workers = [worker for server in servers for worker in server.children()]
        if workers:
            generator.choice(workers).kill()
        return bool(workers)
    except psutil.NoSuchProcess:
        return False


def storm_over(file: Path, storm: Storm, url: str) -> Count:
    """Conduct the study through the storm; completed runs are compared after every death of an engine."""
    generator, count = random.Random(5), Count()
    deaths = [(kind, when) for kind in KINDS for when in ("before", "after")]
    done: dict[object, tuple[object, ...]] = {}
    began = time.monotonic()
    interval = 0.1 if storm.workers < 10 else 0.6
    while True:
        killed = sum(count.engines.values())
        kind, when = deaths[killed % len(deaths)] if killed < storm.engines else ("any", "never")
        occurrence = {"any": generator.randint(2, 20), "_take": 1, "enter": 1}.get(kind, generator.randint(1, 3))
        engine = start(file, storm, url, (kind, occurrence, when))
        while engine.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                engine.wait(generator.uniform(0.5, 1.5) * interval)
            if count.workers < storm.workers and kill_a_worker(engine, url, generator):
                count.workers += 1
        now = completed(url)
        assert {run: now[run] for run in done} == done, "a completed run was lost or trained again"
        done = now
        if engine.returncode == 0:
            break
        assert engine.returncode == -signal.SIGKILL
        boundary = (file.parent / "commits").read_text().split()[-1]
        count.engines[f"{when} {boundary}"] += 1
    count.seconds, count.completed = time.monotonic() - began, len(done)
    count.starts = sum(run.attempts for run in runs(url))
    return count


def mirror(url: str) -> list[tuple[int, str, list[float] | None, dict[str, object], object]]:
    storage = optuna_storage(url)
    trials = optuna.load_study(study_name="small", storage=storage).trials
    storage.engine.dispose()
    return [(t.number, t.state.name, t.values, t.params, t.system_attrs.get("constraints")) for t in trials]


def hashed(url: str) -> str:
    with Reader(url) as reader:
        return digest(reader, "small")


@pytest.mark.parametrize("kind", some(databases.KINDS, "sqlite"))
@pytest.mark.parametrize(
    "storm", [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.faults)]
)
def test_kill_nine_loses_nothing_and_repeats_nothing(storm: Storm, kind: str, tmp_path: Path) -> None:
    weather(storm, kind, tmp_path)


@pytest.mark.parametrize(
    ("storm", "kind"),
    [
        pytest.param(
            replace(SHORT, workers=0, trials=4, pace=0.0, asked=TRADED),
            "sqlite",
            id="short",
            marks=pytest.mark.slow,
        ),
        *(
            pytest.param(
                replace(LONG, engines=20, workers=40, trials=40, asked=(*TRADED, "optimizer.name=race")),
                kind,
                id=f"long-{kind}",
                marks=pytest.mark.faults,
            )
            for kind in databases.KINDS
        ),
    ],
)
def test_a_front_and_what_keeps_to_its_constraint_come_out_the_same(storm: Storm, kind: str, tmp_path: Path) -> None:
    url = weather(storm, kind, tmp_path)
    with Reader(url) as reader:
        study, trials = reader.study("small"), reader.trials("small")
    assert study.front
    assert {len(trial.values) for trial in trials} == {3}
    verdicts = [trial.verdict for trial in trials if trial.verdict is not None]
    assert {verdict.admissible for verdict in verdicts} == {True, False}


def weather(storm: Storm, kind: str, tmp_path: Path) -> str:
    """Conduct a study twice, quietly and through a storm, compare them, and return the URL of the second."""
    (quiet := tmp_path / "quiet").mkdir()
    (killed := tmp_path / "killed").mkdir()
    expected, url = databases.url(kind, quiet), databases.url(kind, killed)
    began = time.monotonic()
    assert start(write(quiet), storm, expected).wait() == 0
    quiet_seconds = time.monotonic() - began
    count = storm_over(write(killed), storm, url)
    assert sum(count.engines.values()) == storm.engines
    assert count.workers == storm.workers
    assert not [run for run in runs(url) if run.state == "failed"]
    assert hashed(url) == hashed(expected)
    assert mirror(url) == mirror(expected)
    problems, (study,) = check(url)
    assert (problems, study.problems) == ([], ())
    ratio = count.seconds / quiet_seconds
    print(
        f"\n{kind}: {sum(count.engines.values())} engines and {count.workers} workers killed; {count.completed} runs "
        f"completed, 0 lost, 0 trained again; {count.starts} starts; digest {hashed(url)[:16]} as without kills; "
        f"{count.seconds:.0f} s against {quiet_seconds:.0f} s, {ratio:.2f} times\n"
        f"  engines died at: {dict(sorted(count.engines.items()))}"
    )
    return url
