"""Each way in which a run can fail, provoked for real: what it is called, how often it is tried, what becomes of it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from processes import alive
from small_study import ignore, kwargs, load

from autorl.engine import policy
from autorl.engine.conductor import conduct
from autorl.engine.progress import Progress
from autorl.errors import StudyPaused
from autorl.ledger.reader import Reader
from autorl.ledger.records import Attempt, RunRecord
from autorl.report.findings import Findings, gather
from autorl.spec.study import StudySpec

PROCESSES = ("execution.executor=processes", "execution.workers=2", "budget.trials=2")
BROKEN = "task.env=probe_envs:autorl-tests/Broken-v0"
LIMITS = {"hang": "execution.limits={progress_seconds: 10}", "oom": "execution.limits={memory_mb: 4000}"}
NO_LIMIT = "execution.limits={}"


def conducted(spec: StudySpec) -> Findings:
    with Reader(spec.storage) as reader:
        return gather(reader, spec.study)


def runs(found: Findings) -> list[RunRecord]:
    return [run for runs in found.runs.values() for run in runs]


@pytest.mark.parametrize(
    ("how", "error_class", "tries", "says"),
    [
        ("nan", "diverged", 1, "nan"),
        ("inf", "diverged", 1, ""),
        ("raise", "exception", 2, "RuntimeError: the simulator broke"),
        ("die", "crash", 3, "the worker was killed by SIGKILL"),
        ("segv", "crash", 3, "the worker was killed by SIGSEGV"),
        ("exit", "crash", 3, "the worker exited with status 3"),
        ("oom", "out_of_memory", 2, "Unable to allocate"),
        ("hang", "hang", 2, "no progress for 10 s (execution.limits.progress_seconds)"),
    ],
)
def test_a_run_that_always_fails(how: str, error_class: str, tries: int, says: str, tmp_path: Path) -> None:
    spec = load(tmp_path, BROKEN, kwargs(how=how), "seeds.tuning=0:1", LIMITS.get(how, NO_LIMIT), *PROCESSES)
    conduct(spec, ignore)
    found = conducted(spec)
    assert found.study.state == "finished"
    assert [(t.state, t.value) for t in found.trials] == [("failed", None)] * 2
    for run in runs(found):
        assert (run.state, run.error_class) == ("failed", error_class)
        assert [attempt.error_class for attempt in run.tries] == [error_class] * tries, run.tries
        assert run.attempts == tries
        assert says in (run.error or "")
        assert says in run.tries[0].error


@pytest.mark.parametrize(("how", "times"), [("raise", 1), ("segv", 2), ("oom", 1), ("hang", 1)])
def test_a_run_that_fails_at_first_completes(how: str, times: int, tmp_path: Path) -> None:
    log = tmp_path / "failed"
    arguments = kwargs(how=how, log=str(log), times=times)
    limits = LIMITS.get(how, NO_LIMIT)
    spec = load(tmp_path, BROKEN, arguments, "seeds.tuning=0:1", limits, *PROCESSES, "execution.workers=1")
    news: list[str] = []
    conduct(spec, lambda progress: news.append(progress.news))
    found = conducted(spec)
    assert [t.state for t in found.trials] == ["completed"] * 2
    assert [len(run.tries) for run in runs(found) if run.tries] == [times]
    again = "alone" if how == "oom" else "again"
    assert sum(f"it is tried {again}" in line for line in news) == times


def test_one_failed_seed_fails_the_trial(tmp_path: Path) -> None:
    """Never an average over the seeds that happened to survive."""
    log = tmp_path / "failed"
    spec = load(tmp_path, BROKEN, kwargs(how="nan", log=str(log), times=1), *PROCESSES)
    conduct(spec, ignore)
    found = conducted(spec)
    failed = {run.trial for run in runs(found) if run.state == "failed"}
    assert len(failed) == 1
    assert {t.number: t.value is None for t in found.trials} == {n: n in failed for n in (0, 1)}


def test_what_an_environment_leaves_running_is_stopped(tmp_path: Path) -> None:
    log = tmp_path / "left"
    spec = load(tmp_path, BROKEN, kwargs(how="linger", log=str(log)), *PROCESSES)
    conduct(spec, ignore)
    assert [t.state for t in conducted(spec).trials] == ["completed"] * 2
    parents = log.read_text().split()
    assert len(parents) == 2 * 2 + 2 * 2 + 2 * 3 or len(parents) == 2 * 2 + 2 * 2 + 3  # the default may win
    left = [int(child) for child in (tmp_path / "left.children").read_text().split()]
    assert len(left) == len(parents)
    deadline = time.monotonic() + 60  # what has been killed is gone a moment later
    while any(alive(child) for child in left):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_that_needs_all_memory_trains_alone(tmp_path: Path) -> None:
    log = tmp_path / "failed"
    spec = load(
        tmp_path, BROKEN, kwargs(how="oom", log=str(log), times=1), LIMITS["oom"], *PROCESSES, "budget.trials=4"
    )
    seen: list[tuple[float, str]] = []
    conduct(spec, lambda progress: seen.append((time.time(), progress.news)))
    found = conducted(spec)
    (again,) = [run for run in runs(found) if run.tries]
    assert again.started_at is not None
    assert again.finished_at is not None
    for run in runs(found):
        if run.run != again.run and run.started_at is not None and run.finished_at is not None:
            assert run.finished_at <= again.started_at or run.started_at >= again.finished_at


def test_the_hard_limit_stops_a_run_that_moves(tmp_path: Path) -> None:
    limit = "execution.limits={run_seconds: 2}"
    spec = load(tmp_path, "budget={trials: 1, steps_per_run: 50_000_000}", limit, *PROCESSES[:2], "seeds.tuning=0:1")
    conduct(spec, ignore)
    (run,) = [run for run in runs(conducted(spec)) if run.phase == "tuning"]
    assert (run.error_class, run.attempts) == ("hang", 2)
    assert "not finished after 2 s" in (run.error or "")


def test_three_trials_with_the_same_traceback_pause_the_study_once(tmp_path: Path) -> None:
    spec = load(tmp_path, BROKEN, kwargs(how="raise"), "budget.trials=6")
    with pytest.raises(StudyPaused, match=r"trials 0, 1, 2 failed with the same traceback:\nTraceback[\s\S]*broke"):
        conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        study = reader.study("small")
        assert study.paused is not None
        assert "the simulator broke" in study.paused
        assert not study.live
        assert len(reader.trials("small")) in (3, 4)
    assert conduct(spec, ignore), "somebody has seen the traceback and goes on"
    found = conducted(spec)
    assert (found.study.state, found.study.paused, len(found.trials)) == ("finished", None, 6)


def test_different_tracebacks_do_not_pause() -> None:
    text = 'Traceback (most recent call last):\n  File "a.py", line {}, in step\n    x\n{}: seed {}\n'
    one, same = text.format(3, "ValueError", 1), text.format(3, "ValueError", 2)
    assert policy.fingerprint(one) == policy.fingerprint(same)
    for other in (text.format(4, "ValueError", 1), text.format(3, "KeyError", 1)):
        assert policy.fingerprint(other) != policy.fingerprint(one)


def test_each_class_has_its_own_tries() -> None:
    def tries(*classes: Any) -> list[Attempt]:
        return [Attempt(n, error_class, "", 0.0) for n, error_class in enumerate(classes, 1)]

    assert not policy.again("diverged", tries("diverged"))
    assert policy.again("crash", tries("hang", "crash", "crash"))
    assert not policy.again("crash", tries("crash", "hang", "crash", "crash"))
    assert policy.again("hang", tries("crash", "crash", "hang"))


@pytest.mark.slow
def test_stopping_saves_and_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    (once := tmp_path / "once").mkdir()
    (twice := tmp_path / "twice").mkdir()
    longer = ("budget={trials: 1, steps_per_run: 3_000}", "seeds={tuning: 0:2, test: 20:21}", *PROCESSES[:2])
    conduct(load(once, *longer), ignore)
    stop, news = threading.Event(), list[str]()

    def watch(progress: Progress) -> None:
        news.append(progress.news)
        if progress.env_steps > 200:
            stop.set()

    assert not conduct(load(twice, *longer), watch, stop.is_set)
    assert "stopping: the runs in training save their state" in news
    with Reader(load(twice).storage) as reader:
        stopped = [run for run in reader.runs("small") if run.checkpoint is not None]
        assert stopped
        assert all(run.state == "waiting" and run.tries == () for run in stopped)
        assert [event.kind for event in reader.events("small")][-1] == "stopped"
    assert conduct(load(twice, *longer), ignore)
    a, b = conducted(load(once)), conducted(load(twice))
    assert {r.run: r.score for r in runs(a)} == {r.run: r.score for r in runs(b)}
    assert any(run.attempts > 1 for run in runs(b))
    assert not list((twice / "study.files").rglob("*.checkpoint"))
