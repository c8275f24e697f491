"""Bring planned runs to the executor and their results to the ledger, and try again what failed."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from autorl.engine import policy
from autorl.errors import AutorlError
from autorl.execution.protocol import Alive, Cause, Ended, Executor, Order, Progressed, Saved, Stalled
from autorl.execution.worker import read_result, result_file
from autorl.ledger.book import Book
from autorl.ledger.database import files_folder
from autorl.ledger.records import RunRecord
from autorl.training.protocol import Backend
from autorl.trial import Checkpoint, FailureClass, Recipe, Run, RunResult

BEAT_SECONDS = 2.0


@dataclass(eq=False)
class _Task:
    run: Run
    recipe: Recipe
    until: int = 0
    attempt: int = 0
    checkpoint: Checkpoint | None = None
    failed: bool = False
    alone: bool = False

    def together_with(self, backend: Backend) -> Hashable:
        """Return a value that only tasks share which can be trained in one call."""
        begun = self.checkpoint.env_steps if self.checkpoint is not None else 0
        return backend.group(self.recipe), begun, self.until


class Dispatcher:
    """Holds the runs that are waiting and those that train.

    Results come as files, written by the workers; each is recorded once and then removed. A file that lies there when
    the engine starts was written by a worker whose engine died: it is recorded like any other.

    Args:
        book: where results are recorded.
        executor: what trains.
        backend: what it trains with.
        unfinished: the runs that the ledger knows and that may be trained further. Files of all others are removed:
            no run can need them.
        finished: called with each run and its result, to be recorded.
        news: called with what a person may want to know.
        tuning_seconds: returns how long the study has been tuning, to be recorded with each sign of life.
    """

    def __init__(
        self,
        book: Book,
        executor: Executor,
        backend: Backend,
        unfinished: Mapping[Run, RunRecord],
        finished: Callable[[Run, RunResult], None],
        news: Callable[[str], None],
        tuning_seconds: Callable[[], float],
    ) -> None:
        self._book, self._executor, self._backend = book, executor, backend
        self._finished, self._news = finished, news
        self._spec = book.spec
        self._folder = files_folder(self._spec.storage, self._spec.execution.folder) / self._spec.study
        self.tuning_seconds = tuning_seconds
        self._before = dict(unfinished)
        self._resting: dict[Run, _Task] = {}
        self._waiting: deque[_Task] = deque()
        self._training: dict[Run, _Task] = {}
        self._live: dict[Run, int] = {}
        self._stalled: dict[Run, str] = {}
        self._draining = False
        self._beaten = time.monotonic()
        self._left_over = self._tidy()

    @property
    def busy(self) -> bool:
        """Whether anything waits or trains."""
        return bool(self._waiting or self._training)

    @property
    def room(self) -> bool:
        """Whether the executor could start a run for which none is waiting."""
        return self._executor.free * self._backend.lanes > len(self._waiting) and not any(
            task.alone for task in self._training.values()
        )

    @property
    def live_steps(self) -> Mapping[Run, int]:
        """Environment steps of the runs that train, as of their last sign of life."""
        return self._live

    def enqueue(self, run: Run, recipe: Recipe, until: int, checkpoint: Checkpoint | None = None) -> None:
        """Add a run to be trained; a result that a worker has left for it is recorded instead.

        Args:
            run: its key.
            recipe: what it trains.
            until: environment steps to reach.
            checkpoint: file in the run's folder to start from, if it forks another; a paused run knows its own.
        """
        task = self._resting.pop(run, None) or _Task(run, recipe, checkpoint=checkpoint)
        task.until = until
        if run in self._before:
            record = self._before.pop(run)
            task.attempt, task.checkpoint = record.attempts, record.checkpoint
            task.failed = bool(record.tries)
            task.alone = task.failed and record.tries[-1].error_class == "out_of_memory"
        for path in self._left_over.pop(run, []):
            result = self._read(path)
            if result is not None:
                task.attempt = int(path.suffixes[-2].removeprefix("."))
                self._take(task, result)
                return
        self._waiting.append(task)

    def fork(self, donor: Run, run: Run) -> Checkpoint | None:
        """Copy the checkpoint of a paused run to where another will start from it; None if there is none."""
        known = self._resting[donor].checkpoint if donor in self._resting else None
        if donor in self._before:
            known = self._before[donor].checkpoint
        if known is None:
            return None
        self._run_folder(run).mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(self._run_folder(donor) / known.file, self._run_folder(run) / known.file)
        except FileNotFoundError as error:
            self._news(f"{_name(donor)}: its checkpoint {error.filename} is not there; {_name(run)} trains all of it")
            return None
        return known

    def keep_only(self, trials: Collection[int]) -> None:
        """Remove the checkpoints of paused tuning runs, but those of some trials."""
        paused = {run: record.checkpoint for run, record in self._before.items() if record.state == "paused"}
        paused |= {run: task.checkpoint for run, task in self._resting.items()}
        gone = [run for run, file in paused.items() if file is not None and run.trial not in trials]
        if not gone:
            return
        self._book.forget_checkpoints(gone)
        for run in gone:
            if run in self._resting:
                self._resting[run].checkpoint = None
            if run in self._before:
                self._before[run] = replace(self._before[run], checkpoint=None)
            self._clear(self._run_folder(run))

    def step(self, seconds: float) -> None:
        """Start what can start, wait up to so long, and record what has happened."""
        while self._can_start():
            self._start(self._next())
        for event in self._executor.poll(seconds):
            match event:
                case Progressed(run, point):
                    self._moves(run, point.env_steps)
                case Alive(run, env_steps):
                    self._moves(run, env_steps)
                case Saved(run, checkpoint):
                    self._saved(run, checkpoint)
                case Stalled(run, reason):
                    self._stall(run, reason)
                case Ended(run, cause, detail):
                    self._ended(run, cause, detail)
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self._book.beat(self._live, self.tuning_seconds())
            self._beaten = time.monotonic()

    def drain(self) -> None:
        """Have all runs in training save their state and end; they go on when the study does."""
        self._draining = True
        self._executor.drain()
        while self._training:
            self.step(0.5)

    def _can_start(self) -> bool:
        if self._draining or not self._waiting or self._executor.free < 1:
            return False
        if any(task.alone for task in self._training.values()):
            return False
        return not (self._waiting[0].alone and self._training)

    def _next(self) -> list[_Task]:
        """Take the tasks that start next: the first that waits, and those that can be trained in one call with it."""
        first = self._waiting.popleft()
        if self._backend.lanes == 1 or first.failed:  # what failed once is not to take others with it again
            return [first]
        kind = first.together_with(self._backend)
        others = (task for task in self._waiting if not task.failed and task.together_with(self._backend) == kind)
        chosen = [first, *islice(others, self._backend.lanes - 1)]
        self._waiting = deque(task for task in self._waiting if task not in chosen)
        return chosen

    def _start(self, tasks: Sequence[_Task]) -> None:
        orders = []
        for task in tasks:
            task.attempt += 1
            order = Order(
                task.run,
                task.attempt,
                task.recipe,
                task.until,
                self._run_folder(task.run),
                task.checkpoint,
                self._spec.execution.checkpoint_seconds,
                result_file(self._results, task.run, task.attempt),
            )
            self._book.start_run(task.run, task.attempt)
            self._training[task.run] = task
            orders.append(order)
        self._executor.submit(*orders)

    def _moves(self, run: Run, env_steps: int) -> None:
        self._live[run] = env_steps
        self._stalled.pop(run, None)

    def _saved(self, run: Run, checkpoint: Checkpoint) -> None:
        self._book.save_checkpoint(run, checkpoint)
        self._training[run].checkpoint = checkpoint
        self._stalled.pop(run, None)
        for path in self._run_folder(run).glob("*.checkpoint"):
            if path.name != checkpoint.file:
                path.unlink(missing_ok=True)

    def _stall(self, run: Run, reason: str) -> None:
        if self._stalled.get(run) != reason:
            self._stalled[run] = reason
            self._news(f"{_name(run)} waits: {reason}")

    def _ended(self, run: Run, cause: Cause, detail: str) -> None:
        task = self._training.pop(run)
        self._live.pop(run, None)
        self._stalled.pop(run, None)
        path = result_file(self._results, run, task.attempt)
        result = self._read(path) if path.exists() else None
        if result is not None:
            self._take(task, result)
        elif cause == "preempted":
            self._book.release_run(run)
            if not self._draining:
                self._waiting.appendleft(task)
        elif cause == "returned":
            self._failed(task, RunResult("failed", error_class="crash", error="the worker left no result"))
        else:
            self._failed(task, RunResult("failed", error_class=cause, error=detail))

    def _take(self, task: _Task, result: RunResult) -> None:
        if result.status == "completed":
            self._finish(task, result)
        else:
            self._failed(task, result)

    def _failed(self, task: _Task, result: RunResult) -> None:
        error_class: FailureClass = result.error_class or "exception"
        tries = self._book.fail_attempt(task.run, task.attempt, error_class, result.error or "")
        if not policy.again(error_class, tries):
            self._finish(task, result)
            return
        result_file(self._results, task.run, task.attempt).unlink(missing_ok=True)
        task.failed, task.alone = True, error_class == "out_of_memory"
        self._waiting.appendleft(task)
        how = "alone" if task.alone else "again"
        self._news(f"{_name(task.run)} failed ({error_class}): {last_line(result.error)}; it is tried {how}")

    def _finish(self, task: _Task, result: RunResult) -> None:
        if result.status == "completed" and task.until < task.recipe.env_steps:
            task.checkpoint = result.checkpoint
            self._resting[task.run] = task
        self._finished(task.run, result)
        result_file(self._results, task.run, task.attempt).unlink(missing_ok=True)
        if task.run not in self._resting:
            self._clear(self._run_folder(task.run))

    def _read(self, path: Path) -> RunResult | None:
        try:
            return read_result(path)
        except AutorlError as error:
            self._quarantine(path, path.name)
            self._news(f"{error}; it was moved to {self._folder / 'quarantine'}, and the run is trained again")
            return None

    def _quarantine(self, path: Path, name: str) -> None:
        """Move a damaged file to where nothing reads it but a person who wants to know what happened."""
        (self._folder / "quarantine").mkdir(exist_ok=True)
        path.replace(self._folder / "quarantine" / name)

    def _clear(self, folder: Path) -> None:
        """Remove a run's folder."""
        for path in folder.glob("*.damaged"):
            self._quarantine(path, f"{folder.name}.{path.name}")
        shutil.rmtree(folder, ignore_errors=True)

    def _tidy(self) -> dict[Run, list[Path]]:
        """Remove the files that no run can need, and return the results that workers have left, by run."""
        left: dict[Run, list[Path]] = {}
        names = {f"{run.trial}-{run.phase}-{run.seed}": run for run in self._before}
        for path in self._results.glob("*"):
            run = names.get(path.name.partition(".")[0])
            # What is left of a paused run was recorded: its engine died before it could remove the file.
            if run is not None and path.suffix == ".json" and self._before[run].state != "paused":
                left.setdefault(run, []).append(path)
            else:
                path.unlink(missing_ok=True)
        for folder in self._checkpoints.glob("*"):
            run = names.get(folder.name)
            known = self._before[run].checkpoint if run is not None else None
            if known is None:
                self._clear(folder)
                continue
            for path in folder.iterdir():
                if path.name != known.file and path.suffix != ".damaged":
                    path.unlink(missing_ok=True)
        return left

    @property
    def _results(self) -> Path:
        return self._folder / "results"

    @property
    def _checkpoints(self) -> Path:
        return self._folder / "checkpoints"

    def _run_folder(self, run: Run) -> Path:
        return self._checkpoints / f"{run.trial}-{run.phase}-{run.seed}"


def last_line(error: str | None) -> str:
    """Return what an error says in one line: the last of a traceback."""
    lines = (error or "").strip().splitlines()
    return lines[-1] if lines else ""


def _name(run: Run) -> str:
    return f"trial {run.trial}, {run.phase} seed {run.seed}"
