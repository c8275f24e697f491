"""The ledger: one writer, everything once, readable by others."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import databases
import optuna
import pytest
from rows import add_trial, stands
from small_study import load

from autorl.errors import Fenced, LeaseHeld, StorageError
from autorl.ledger import lease
from autorl.ledger.book import Book
from autorl.ledger.database import files_folder, open_for_reading, parse_url, shown
from autorl.ledger.mirror import Mirror
from autorl.ledger.reader import Reader
from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.trial import Point, Recipe, Run, RunResult, bind

CONFIG = Configuration(
    {"learning_rate": 0.0012345678901234567, "gamma": 0.99, "batch_size": 16, "vf_clip": False},
    {"learning_rate": 0.0012345678901234567, "gamma": 0.010000000000000009, "batch_size": 4, "vf_clip": False},
)
DONE = RunResult(
    "completed",
    (Point(64, 0.5, {"return": 0.25}), Point(128, 1.0, {"return": 0.1 + 0.2})),
    128,
    1.0,
    0.9,
    1 / 3,
    (0.1 + 0.2,),
)


@pytest.fixture(params=databases.KINDS)
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> StudySpec:
    return load(tmp_path, f"storage={databases.url(request.param, tmp_path)}")


def optuna_url(spec: StudySpec) -> str:
    return parse_url(spec.storage).render_as_string(hide_password=False)


def recipe(spec: StudySpec) -> Recipe:
    return bind(spec, spec.space, CONFIG.values, frozenset({"vf_clip"}))


def test_what_is_written_is_read_to_the_bit(spec: StudySpec) -> None:
    with Book(spec, max_pending=1, waiting=print) as book, Reader(spec.storage) as reader:
        add_trial(book, 0, CONFIG, recipe(spec), (0, 1))
        book.start_run(Run(0, "tuning", 1), 1)
        book.finish_run(Run(0, "tuning", 1), DONE, False, None)
        (trial,) = reader.trials("small")
        assert (trial.config, trial.recipe, trial.state) == (CONFIG, recipe(spec), "running")
        waiting, done = reader.runs("small")
        assert (waiting.energy_joules, done.energy_joules) == (None, 1 / 3)
        assert (waiting.state, done.state, done.score, done.attempts) == ("waiting", "completed", 0.1 + 0.2, 1)
        (curve,) = reader.curves("small", [0])
        assert (curve.run, curve.points) == (Run(0, "tuning", 1), DONE.curve)
        assert reader.counts("small") == {("tuning", "completed"): (1, 128), ("tuning", "waiting"): (1, 0)}


def test_a_finished_run_is_never_written_again(spec: StudySpec) -> None:
    with Book(spec, max_pending=1, waiting=print) as book, Reader(spec.storage) as reader:
        add_trial(book, 0, CONFIG, recipe(spec), (0,))
        run = Run(0, "tuning", 0)
        book.finish_run(run, DONE, False, None)
        book.finish_run(run, RunResult("failed", error_class="crash", error="late"), False, None)
        assert [r.score for r in reader.runs("small")] == [0.1 + 0.2]


def test_later_phases_are_planned_once(spec: StudySpec) -> None:
    with Book(spec, max_pending=1, waiting=print) as book, Reader(spec.storage) as reader:
        add_trial(book, 0, CONFIG, recipe(spec), (0,))
        book.add_runs(0, "test", (20, 21), 128)
        book.finish_run(Run(0, "test", 20), DONE, False, None)
        book.add_runs(0, "test", (20, 21, 22), 128)
        assert [(r.seed, r.state) for r in reader.runs("small", "test")] == [
            (20, "completed"),
            (21, "waiting"),
            (22, "waiting"),
        ]


def test_a_second_engine_is_refused_until_the_first_is_gone(spec: StudySpec) -> None:
    with (
        Book(spec, max_pending=1, waiting=print),
        pytest.raises(LeaseHeld, match=r"study 'small' is being conducted by process \d+"),
    ):
        Book(spec, max_pending=1, waiting=print)
    with Book(spec, max_pending=1, waiting=print) as book:
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
    for other in ({"host": "elsewhere"}, {"processes": "pid:[1]", "pid": 1 << 30}):  # a container may share the name
        elsewhere = json.dumps({**json.loads(owner), **other})
        assert not lease.may_take(elsewhere, time.time())
        assert lease.may_take(elsewhere, time.time() - 60)
    holder.kill()
    holder.communicate()
    assert lease.may_take(owner, time.time())


def test_a_fenced_engine_cannot_write(spec: StudySpec) -> None:
    book = Book(spec, max_pending=1, waiting=print)
    add_trial(book, 0, CONFIG, recipe(spec), (0,))
    databases.execute(spec.storage, "UPDATE autorl_study SET lease_epoch = lease_epoch + 1")
    for write in (
        lambda: book.finish_run(Run(0, "tuning", 0), DONE, False, None),
        lambda: add_trial(book, 1, CONFIG, recipe(spec), (0,)),
        lambda: book.beat({}, 0.0),
        lambda: book.enter("test", 0),
    ):
        with pytest.raises(Fenced):
            write()
    book.__exit__()
    with Reader(spec.storage) as reader:
        assert len(reader.trials("small")) == 1
        assert [r.state for r in reader.runs("small")] == ["waiting"]


def test_another_study_under_the_same_name_is_refused(tmp_path: Path) -> None:
    Book(load(tmp_path), max_pending=1, waiting=print).__exit__()
    with pytest.raises(
        StorageError, match=r"exists in sqlite:///.* with another seeds, task; give this one another name"
    ):
        Book(load(tmp_path, "task.env=CartPole-v1", "seeds.test=20:24"), max_pending=1, waiting=print)
    for allowed in ("budget.trials=9", "execution.workers=1"):
        Book(load(tmp_path, allowed), max_pending=5, waiting=print).__exit__()
    with Reader(f"sqlite:///{tmp_path}/study.db") as reader:
        assert reader.study("small").spec.optimizer.max_pending == 1


def test_optuna_opens_what_autorl_writes(spec: StudySpec) -> None:
    with Book(spec, max_pending=1, waiting=print) as book, Reader(spec.storage) as reader:
        outside = Configuration(
            {"learning_rate": 0.5, "gamma": 0.5, "batch_size": 64, "vf_clip": True, "clip_range_vf": 0.2}, {}
        )
        for number, (config, value) in enumerate([(outside, 1.0), (CONFIG, None), (CONFIG, 3.0), (CONFIG, 3.0)]):
            add_trial(book, number, config, recipe(spec), (0,))
            book.set_trial(number, stands(value))
        mirror = Mirror(book)
        for trial in reader.trials("small"):
            mirror.write(trial, outside, {0: () if trial.value is None else (trial.value,)})
        mirror.write(reader.trials("small")[3], outside, {0: (3.0,)})  # the answer to the first commit was lost
        assert Mirror(book).next == 4
    study = optuna.load_study(study_name="small", storage=optuna_url(spec))
    assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert [t.value for t in study.trials] == [1.0, None, 3.0, 3.0]
    assert study.trials[0].params == dict(outside.values)
    assert study.best_params == dict(CONFIG.values)
    assert study.best_trial.number == 2
    study._storage._backend.engine.dispose()


def test_a_trial_whose_commit_was_not_answered_is_mirrored_once(spec: StudySpec) -> None:
    with Book(spec, max_pending=1, waiting=print) as book, Reader(spec.storage) as reader:
        add_trial(book, 0, CONFIG, recipe(spec), (0,))
        book.set_trial(0, stands(1.0))
        Mirror(book).write(reader.trials("small")[0], CONFIG, {0: (1.0,)})
    study = optuna.load_study(study_name="small", storage=optuna_url(spec))
    study.add_trial(optuna.trial.create_trial(value=2.0))  # somebody else's is not ours
    with Book(spec, max_pending=1, waiting=print) as book:
        assert Mirror(book).next == 1
    study._storage._backend.engine.dispose()


def test_every_write_does_nothing_the_second_time(spec: StudySpec) -> None:
    run = Run(0, "tuning", 0)
    with Book(spec, max_pending=1, waiting=print) as book, Reader(spec.storage) as reader:
        for _ in range(2):
            add_trial(book, 0, CONFIG, recipe(spec), (0,))
        for _ in range(2):
            book.start_run(run, 1)
        for _ in range(2):
            tries = book.fail_attempt(run, 1, "crash", "killed by SIGKILL")
        assert [t.attempt for t in tries] == [1]
        for _ in range(2):
            book.finish_run(run, DONE, False, stands(0.3))
        (record,), (trial,) = reader.runs("small"), reader.trials("small")
        assert (record.attempts, record.tries, record.state) == (1, tries, "completed")
        assert (trial.state, trial.value) == ("completed", 0.3)
        assert len(reader.events("small", "run failed")) == 1


def test_a_crash_leaves_the_curve_that_optimizers_were_told(spec: StudySpec) -> None:
    run, curve = Run(0, "tuning", 0), (Point(64, 1.0, {"return": 0.5}),)
    with Book(spec, max_pending=1, waiting=print) as book, Reader(spec.storage) as reader:
        add_trial(book, 0, CONFIG, recipe(spec), (0,))
        book.finish_run(run, replace(DONE, curve=curve, env_steps=64), True, None)
        book.start_run(run, 1)
        book.finish_run(run, RunResult("failed", error_class="crash", error="killed by SIGKILL"), False, None)
        (record,), (kept,) = reader.runs("small"), reader.curves("small", [0], "tuning")
    assert record.state == "failed"
    assert kept.points == curve


def test_any_text_can_be_stored(spec: StudySpec) -> None:
    with Book(spec, max_pending=1, waiting=print) as book, Reader(spec.storage) as reader:
        add_trial(book, 0, CONFIG, recipe(spec), (0,))
        odd = "NUL \0, half a pair \ud800, emoji \N{PILE OF POO}"
        book.finish_run(
            Run(0, "tuning", 0), RunResult("failed", error_class="exception", error=odd, notes=(odd,)), False, None
        )
        (record,) = reader.runs("small")
        assert record.error == "NUL \N{REPLACEMENT CHARACTER}, half a pair ?, emoji \N{PILE OF POO}"


def test_a_reader_cannot_write(spec: StudySpec) -> None:
    Book(spec, max_pending=1, waiting=print).__exit__()
    engine = open_for_reading(spec.storage)
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    with engine.connect() as connection, pytest.raises(DBAPIError, match=r"read-?only"):
        connection.execute(text("DELETE FROM autorl_study"))
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("autorl.db", "is no database URL"),
        ("sqlite://", "in-memory database would lose the study"),
        ("mysql://x/y", "'mysql' databases are not supported"),
        ("sqlite:///a{b}.db", "may not contain"),
        ("sqlite:///file:a.db?mode=memory", "in-memory database would lose the study"),
        ("sqlite:///a.db?mode=rwc", "may not contain"),
        ("sqlite:///a\0.db", "control characters"),
        ("postgresql://user:secret@host", r"'postgresql://user@host' names no database"),
        ("postgresql://user:{secret}@host/x", r"user@host/x': a database URL may not contain"),
        ("sqlite:////nowhere/at/all/a.db", "the folder '/nowhere/at/all' does not exist"),
    ],
)
def test_unusable_urls_are_named(url: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=says):
        Book(load(tmp_path).model_copy(update={"storage": url}), max_pending=1, waiting=print)


@pytest.mark.parametrize("name", ["c#", "50%25", "what?", "a b"])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := tmp_path / name).mkdir()
    monkeypatch.chdir(folder)
    spec = load(tmp_path, "storage=sqlite:///study.db")
    Book(spec, max_pending=1, waiting=print).__exit__()
    with Reader(spec.storage) as reader:
        assert reader.study("small").name == "small"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [name]


def test_unknown_databases_and_studies_are_named(tmp_path: Path, spec: StudySpec) -> None:
    with pytest.raises(StorageError, match="no database there yet"):
        Reader(f"sqlite:///{tmp_path}/none.db")
    (tmp_path / "text.db").write_text("this is no database, but a text of some length " * 20)
    with (
        pytest.raises(StorageError, match="not a database of autorl"),
        Reader(f"sqlite:///{tmp_path}/text.db") as reader,
    ):
        reader.studies()
    Book(spec, max_pending=1, waiting=print).__exit__()
    with pytest.raises(StorageError, match="did you mean 'small'"), Reader(spec.storage) as reader:
        reader.study("smal")


def test_files_lie_beside_a_database_file_and_in_the_state_folder_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert files_folder("sqlite:////data/study.db") == Path("/data/study.files")
    assert files_folder("sqlite:///runs.v1") != files_folder("sqlite:///runs.v2")
    shared = files_folder("sqlite:////data/study.db", "/shared")
    assert shared.parent == Path("/shared")
    assert shared != files_folder("sqlite:////data/other.db", "/shared"), (
        "databases may share a folder, not their files"
    )
    server = files_folder("postgresql://me:one@host/name")
    assert server.parent == Path("/state/autorl")
    assert server == files_folder("postgresql+psycopg://me:two@host/name")
    assert server != files_folder("postgresql://me@host/other")


@pytest.mark.parametrize("url", ["postgresql://me:hidden@host/name", "postgresql://me@host/name?password=hidden"])
def test_passwords_are_not_shown(url: str) -> None:
    assert shown(url) == "postgresql://me@host/name"
    assert shown(f"{url}{'&' if '?' in url else '?'}sslmode=require") == "postgresql://me@host/name?sslmode=require"


def test_passwords_are_not_kept(tmp_path: Path) -> None:
    spec = load(tmp_path, f"storage={databases.url('postgres', tmp_path)}")
    spec = spec.model_copy(update={"storage": spec.storage.replace("postgres:@", "postgres:hidden@")})
    Book(spec, max_pending=1, waiting=print).__exit__()
    with Reader(spec.storage) as reader:
        assert "hidden" not in reader.study("small").spec.storage
    assert not [row for row in databases.execute(spec.storage, "SELECT spec FROM autorl_study") if "hidden" in row[0]]
