"""The ledger: one writer, everything once, readable by others."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from small_study import load

from autorl.errors import Fenced, LeaseHeld, StorageError
from autorl.ledger import lease
from autorl.ledger.book import Book
from autorl.ledger.mirror import Mirror
from autorl.ledger.reader import Reader
from autorl.ledger.tables import files_folder, open_for_reading
from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.trial import Point, Recipe, Run, RunResult, bind

CONFIG = Configuration(
    {"learning_rate": 0.0012345678901234567, "gamma": 0.99, "batch_size": 16, "vf_clip": False},
    {"learning_rate": 0.0012345678901234567, "gamma": 0.010000000000000009, "batch_size": 4, "vf_clip": False},
)
DONE = RunResult(
    "completed", (Point(64, 0.5, {"return": 0.25}), Point(128, 1.0, {"return": 0.1 + 0.2})), 128, 1.0, 0.9, 0.1 + 0.2
)


@pytest.fixture
def spec(tmp_path: Path) -> StudySpec:
    return load(tmp_path)


def recipe(spec: StudySpec) -> Recipe:
    return bind(spec, spec.space, CONFIG.values, frozenset({"vf_clip"}))


def test_what_is_written_is_read_to_the_bit(spec: StudySpec) -> None:
    with Book(spec, max_pending=1) as book, Reader(spec.storage) as reader:
        book.add_trial(0, "default", CONFIG, recipe(spec), "0:0", (0, 1))
        book.start_run(Run(0, "tuning", 1))
        assert book.finish_run(Run(0, "tuning", 1), DONE)
        (trial,) = reader.trials("small")
        assert (trial.config, trial.recipe, trial.state) == (CONFIG, recipe(spec), "running")
        waiting, done = reader.runs("small")
        assert (waiting.state, done.state, done.score, done.attempts) == ("waiting", "completed", 0.1 + 0.2, 1)
        (curve,) = reader.curves("small", [0])
        assert (curve.run, curve.points) == (Run(0, "tuning", 1), DONE.curve)
        assert reader.counts("small") == {("tuning", "completed"): (1, 128), ("tuning", "waiting"): (1, 0)}


def test_a_finished_run_is_never_written_again(spec: StudySpec) -> None:
    with Book(spec, max_pending=1) as book, Reader(spec.storage) as reader:
        book.add_trial(0, "default", CONFIG, recipe(spec), "0:0", (0,))
        run = Run(0, "tuning", 0)
        assert book.finish_run(run, DONE)
        assert not book.finish_run(run, RunResult("failed", error_class="crash", error="late"))
        assert [r.score for r in reader.runs("small")] == [DONE.score]


def test_later_phases_are_planned_once(spec: StudySpec) -> None:
    with Book(spec, max_pending=1) as book, Reader(spec.storage) as reader:
        book.add_trial(0, "default", CONFIG, recipe(spec), "0:0", (0,))
        book.add_runs(0, "test", (20, 21))
        book.finish_run(Run(0, "test", 20), DONE)
        book.add_runs(0, "test", (20, 21, 22))
        assert [(r.seed, r.state) for r in reader.runs("small", "test")] == [
            (20, "completed"),
            (21, "waiting"),
            (22, "waiting"),
        ]


def test_a_second_engine_is_refused_until_the_first_is_gone(spec: StudySpec) -> None:
    with Book(spec, max_pending=1), pytest.raises(LeaseHeld, match=r"study 'small' is being conducted by process \d+"):
        Book(spec, max_pending=1)
    with Book(spec, max_pending=1) as book:
        assert (book.created, book.epoch) == (False, 2)


def test_a_killed_engine_is_replaced_at_once(tmp_path: Path, spec: StudySpec) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from autorl.ledger import lease; print(lease.me(), flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    owner = holder.stdout.readline().strip()
    assert not lease.may_take(owner, time.time())
    assert not lease.may_take(owner, time.time() - 60), (
        "a live engine on this machine keeps its study, however busy it is"
    )
    assert lease.may_take(None, None)
    elsewhere = json.dumps({**json.loads(owner), "host": "elsewhere"})
    assert not lease.may_take(elsewhere, time.time())
    assert lease.may_take(elsewhere, time.time() - 60)
    holder.kill()
    holder.communicate()
    assert lease.may_take(owner, time.time())


def test_a_fenced_engine_cannot_write(spec: StudySpec, tmp_path: Path) -> None:
    book = Book(spec, max_pending=1)
    book.add_trial(0, "default", CONFIG, recipe(spec), "0:0", (0,))
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE autorl_study SET lease_epoch = lease_epoch + 1")
    for write in (
        lambda: book.finish_run(Run(0, "tuning", 0), DONE),
        lambda: book.add_trial(1, "optimizer", CONFIG, recipe(spec), "0:0", (0,)),
        lambda: book.beat({}),
        lambda: book.enter("test", 0),
    ):
        with pytest.raises(Fenced):
            write()
    with Reader(spec.storage) as reader:
        assert len(reader.trials("small")) == 1
        assert [r.state for r in reader.runs("small")] == ["waiting"]


def test_another_study_under_the_same_name_is_refused(tmp_path: Path) -> None:
    Book(load(tmp_path), max_pending=1).__exit__()
    with pytest.raises(
        StorageError, match=r"exists in sqlite:///.* with another seeds, task; give this one another name"
    ):
        Book(load(tmp_path, "task.env=CartPole-v1", "seeds.test=20:24"), max_pending=1)
    for allowed in ("budget.trials=9", "execution.workers=1"):
        Book(load(tmp_path, allowed), max_pending=5).__exit__()
    with Reader(f"sqlite:///{tmp_path}/study.db") as reader:
        assert reader.study("small").spec.optimizer.max_pending == 1


def test_optuna_opens_what_autorl_writes(spec: StudySpec) -> None:
    with Book(spec, max_pending=1) as book, Reader(spec.storage) as reader:
        outside = Configuration(
            {"learning_rate": 0.5, "gamma": 0.5, "batch_size": 64, "vf_clip": True, "clip_range_vf": 0.2}, {}
        )
        for number, (config, value) in enumerate([(outside, 1.0), (CONFIG, None), (CONFIG, 3.0), (CONFIG, 3.0)]):
            book.add_trial(number, "optimizer", config, recipe(spec), "0:0", (0,))
            book.finish_trial(number, value)
        mirror = Mirror(book)
        for trial in reader.trials("small"):
            mirror.write(trial, outside, {0: trial.value})
        assert Mirror(book).next == 4
    study = optuna.load_study(study_name="small", storage=spec.storage)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert [t.value for t in study.trials] == [1.0, None, 3.0, 3.0]
    assert study.trials[0].params == dict(outside.values)
    assert study.best_params == dict(CONFIG.values)
    assert study.best_trial.number == 2


def test_a_kill_between_the_two_transactions_mirrors_once(spec: StudySpec, tmp_path: Path) -> None:
    with Book(spec, max_pending=1) as book, Reader(spec.storage) as reader:
        book.add_trial(0, "default", CONFIG, recipe(spec), "0:0", (0,))
        book.finish_trial(0, 1.0)
        Mirror(book).write(reader.trials("small")[0], CONFIG, {0: 1.0})
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE autorl_trial SET mirrored = 0")
    with Book(spec, max_pending=1) as book:
        assert Mirror(book).next == 1
        assert book.mirrored() == {0}
    assert len(optuna.load_study(study_name="small", storage=spec.storage).trials) == 1


def test_a_reader_cannot_write(spec: StudySpec) -> None:
    Book(spec, max_pending=1).__exit__()
    engine = open_for_reading(spec.storage)
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError

    with engine.connect() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(text("DELETE FROM autorl_study"))
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("autorl.db", "is no database URL"),
        ("sqlite://", "in-memory database would lose the study"),
        ("mysql://x/y", "not supported yet"),
        ("sqlite:///a{b}.db", "may not contain"),
        ("sqlite:////nowhere/at/all/a.db", "the folder '/nowhere/at/all' does not exist"),
    ],
)
def test_unusable_urls_are_named(url: str, says: str, spec: StudySpec) -> None:
    with pytest.raises(StorageError, match=says):
        Book(spec.model_copy(update={"storage": url}), max_pending=1)


def test_unknown_databases_and_studies_are_named(tmp_path: Path, spec: StudySpec) -> None:
    with pytest.raises(StorageError, match="no database there yet"):
        Reader(f"sqlite:///{tmp_path}/none.db")
    (tmp_path / "text.db").write_text("this is no database, but a text of some length " * 20)
    with (
        pytest.raises(StorageError, match="not a database of autorl"),
        Reader(f"sqlite:///{tmp_path}/text.db") as reader,
    ):
        reader.studies()
    Book(spec, max_pending=1).__exit__()
    with pytest.raises(StorageError, match="did you mean 'small'"), Reader(spec.storage) as reader:
        reader.study("smal")
    assert files_folder(spec.storage) == tmp_path / "study.files"
