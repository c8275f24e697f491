"""Databases that go away, full disks, damaged files: training goes on or waits, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import databases
import pytest
from small_study import ignore, load

from autorl.engine.conductor import conduct
from autorl.engine.progress import Progress
from autorl.errors import Fenced, StorageError
from autorl.ledger.digest import digest
from autorl.ledger.reader import Reader
from autorl.ledger.records import RunRecord
from autorl.spec.study import StudySpec


def study(folder: Path, *overrides: str) -> StudySpec:
    """Return a study whose runs take a second or so, with two at a time."""
    paced = ("task.env=probe_envs:autorl-tests/Paced-v0", "task.env_kwargs={seconds: 0.008}")
    execution = "execution={executor: processes, workers: 2, checkpoint_seconds: 0.2}"
    few = ("budget.trials=5", "seeds={tuning: 0:2, test: 20:21}")
    return load(folder, *paced, *few, "optimizer.max_pending=1", execution, *overrides)


@pytest.fixture(scope="module")
def as_before(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the digest of the study that nothing disturbs."""
    spec = study(tmp_path_factory.mktemp("quiet"))
    conduct(spec, ignore)
    return found(spec)


def found(spec: StudySpec) -> str:
    with Reader(spec.storage) as reader:
        return digest(reader, "small")


def conduct_through(spec: StudySpec, outage: Callable[[], None]) -> list[str]:
    """Conduct the study, with an outage that begins once something has finished; return the news."""
    news: list[str] = []
    thread = threading.Thread(target=outage)

    def watch(progress: Progress) -> None:
        news.append(progress.news)
        if progress.runs >= 2 and not thread.ident:
            thread.start()

    assert conduct(spec, watch)
    thread.join()
    return news


def assert_nothing_lost(spec: StudySpec, as_before: str) -> None:
    assert found(spec) == as_before
    with Reader(spec.storage) as reader:
        runs = reader.runs("small")
    assert all((run.attempts, run.tries) == (1, ()) for run in runs), "an outage is not charged to a run"


def seconds(short: float, long: float) -> pytest.MarkDecorator:
    """Give an outage two lengths: one for every day, and the one that the long suite has."""
    forms = [pytest.param(short, id="short"), pytest.param(long, id="long", marks=pytest.mark.faults)]
    return pytest.mark.parametrize("seconds", forms)


@seconds(12, 60)
def test_sqlite_is_locked_in_mid_study(seconds: float, as_before: str, tmp_path: Path) -> None:
    spec = study(tmp_path)

    def lock() -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None, timeout=30)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            other.execute("ROLLBACK")

    news = conduct_through(spec, lock)
    assert any("the database does not answer (database is locked); trying again" in line for line in news)
    assert_nothing_lost(spec, as_before)


@pytest.mark.parametrize(
    "seconds", [pytest.param(3, id="short"), pytest.param(30, id="long", marks=pytest.mark.faults)]
)
def test_postgres_is_stopped_in_mid_study(seconds: float, as_before: str, tmp_path: Path) -> None:
    with databases.own_server() as server:
        spec = study(tmp_path, f"storage={server.get_uri()}", f"execution.folder={tmp_path}/files")

        def stop() -> None:
            server.stop()
            time.sleep(seconds)
            server.ensure_postgres_running()

        news = conduct_through(spec, stop)
        assert any("the database does not answer" in line for line in news)
        assert_nothing_lost(spec, as_before)


def test_postgres_that_is_away_at_the_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"postgresql://nobody@127\.0\.0\.1:1/none: .*refused"):
        conduct(study(tmp_path, "storage=postgresql://nobody@127.0.0.1:1/none"), ignore)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 16 MB."""
    (disk := tmp_path / "disk").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a disk can be mounted by root only ({mounted.stderr.decode().strip()})")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path, seconds: float) -> None:
    """Fill a disk to its last byte for so long."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    time.sleep(seconds)
    (disk / "ballast").unlink()


@pytest.mark.parametrize(
    "seconds", [pytest.param(3, id="short"), pytest.param(20, id="long", marks=pytest.mark.faults)]
)
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("database", "database or disk is full"),
        pytest.param("files", "No space left on device", marks=pytest.mark.slow),
    ],
)
def test_the_disk_is_full(
    what: str, says: str, seconds: float, as_before: str, small_disk: Path, tmp_path: Path
) -> None:
    place = {"database": f"storage=sqlite:///{small_disk}/study.db", "files": f"execution.folder={small_disk}/files"}
    folder = {"database": f"execution.folder={tmp_path}/files", "files": "execution.workers=2"}
    spec = study(tmp_path, place[what], folder[what])
    news = conduct_through(spec, lambda: fill(small_disk, seconds))
    assert any(says in line for line in news), news
    assert_nothing_lost(spec, as_before)


def test_damaged_files_are_quarantined_and_the_runs_trained_again(as_before: str, tmp_path: Path) -> None:
    spec = study(tmp_path)

    def in_training() -> list[RunRecord]:
        with Reader(spec.storage) as reader:
            runs = reader.runs("small") if reader.studies() else []
        return [run for run in runs if run.state != "completed" and run.checkpoint is not None]

    saved: list[RunRecord] = []
    while not saved:  # both runs may end before they hear that they are to stop
        assert not conduct(spec, ignore, lambda: bool(in_training()))
        saved = in_training()
    files = tmp_path / "study.files" / "small"
    for run in saved:
        assert run.checkpoint is not None
        checkpoint = files / "checkpoints" / f"{run.trial}-{run.phase}-{run.seed}" / run.checkpoint.file
        os.truncate(checkpoint, checkpoint.stat().st_size // 2)
    half_written = files / "results" / f"{saved[0].trial}-{saved[0].phase}-{saved[0].seed}.{saved[0].attempts}.json"
    half_written.parent.mkdir(exist_ok=True)
    half_written.write_text('{"status": "comp')
    news: list[str] = []
    assert conduct(spec, lambda progress: news.append(progress.news))
    assert any("damaged result file" in line and "the run is trained again" in line for line in news)
    assert (files / "quarantine" / half_written.name).read_text() == '{"status": "comp'
    assert found(spec) == as_before
    with Reader(spec.storage) as reader:
        again = {run.run: run.notes for run in reader.runs("small")}
    for run in saved:
        assert run.checkpoint is not None
        name = f"{run.trial}-{run.phase}-{run.seed}.{Path(run.checkpoint.file).stem}.damaged"
        assert (files / "quarantine" / name).exists()
        assert any("is not the file that was recorded" in note for note in again[run.run])


def test_a_stale_engine_is_fenced_and_its_runs_end(tmp_path: Path) -> None:
    """An engine that was away long enough to be replaced finds out at its next write, and leaves the study alone."""
    spec = study(tmp_path)

    def replace() -> None:
        databases.execute(spec.storage, "UPDATE autorl_study SET lease_epoch = lease_epoch + 1")

    with pytest.raises(Fenced, match="was taken over by another engine"):
        conduct_through(spec, replace)
    before = found(spec)
    time.sleep(1.0)
    assert found(spec) == before
