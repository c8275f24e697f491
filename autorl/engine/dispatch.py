"""Bring planned runs to the executor and their results to the ledger."""

from __future__ import annotations

import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from autorl.errors import AutorlError
from autorl.execution.protocol import Ended, Executor, Order, Progressed
from autorl.execution.worker import read_result
from autorl.ledger.book import Book
from autorl.ledger.tables import files_folder
from autorl.spec.study import StudySpec
from autorl.trial import Recipe, Run, RunResult

# A worker that dies without a word (killed, out of memory, a segmentation fault) starts again, but for the third time.
MAX_DEATHS = 3
BEAT_SECONDS = 5.0


class Dispatcher:
    """Holds the runs that are waiting and those that train.

    Results come as files, written by the workers; each is recorded once and then removed. A file that lies there when
    the engine starts was written by a worker whose engine died: it is recorded like any other.

    Args:
        book: where results are recorded.
        executor: what trains.
        finished: called with each run and its result, after it was recorded.
    """

    def __init__(self, book: Book, executor: Executor, finished: Callable[[Run, RunResult], None]) -> None:
        self._book, self._executor, self._finished = book, executor, finished
        self._spec: StudySpec = book.spec
        self._folder = files_folder(self._spec.storage) / self._spec.study
        self._waiting: deque[tuple[Run, Recipe]] = deque()
        self._training: dict[Run, Order] = {}
        self._live: dict[Run, int] = {}
        self._deaths: Counter[Run] = Counter()
        self._beaten = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether anything waits or trains."""
        return bool(self._waiting or self._training)

    @property
    def room(self) -> bool:
        """Whether the executor could start a run for which none is waiting."""
        return self._executor.free > len(self._waiting)

    @property
    def live_steps(self) -> Mapping[Run, int]:
        """Environment steps of the runs that train, as of their last evaluation."""
        return self._live

    def enqueue(self, runs: Iterable[tuple[Run, Recipe]]) -> None:
        """Add runs to be trained; a result that a worker has left for one is recorded instead."""
        for run, recipe in runs:
            result = self._left(run)
            if result is not None:
                self._record(run, result)
            else:
                self._waiting.append((run, recipe))

    def step(self, seconds: float) -> None:
        """Start what can start, wait up to so long, and record what has finished."""
        while self._waiting and self._executor.free > 0:
            run, recipe = self._waiting.popleft()
            self._start(run, recipe)
        for event in self._executor.poll(seconds):
            match event:
                case Progressed(run, point):
                    self._live[run] = point.env_steps
                case Ended(run, reason):
                    self._ended(run, reason)
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            self._book.beat(self._live)

    def _start(self, run: Run, recipe: Recipe) -> None:
        folder = self._run_folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        order = Order(
            run,
            recipe,
            recipe.env_steps,
            self._spec.objective.metric,
            folder / "checkpoint.pt",
            self._spec.execution.checkpoint_seconds,
            self._result_file(run),
        )
        self._book.start_run(run)
        self._training[run] = order
        self._executor.submit(order)

    def _ended(self, run: Run, reason: str) -> None:
        order = self._training.pop(run)
        self._live.pop(run, None)
        result = self._left(run)
        if result is not None:
            self._record(run, result)
            return
        self._deaths[run] += 1
        if self._deaths[run] < MAX_DEATHS:
            self._waiting.appendleft((run, order.recipe))
        else:
            text = f"the worker {reason} without a result, {MAX_DEATHS} times"
            self._record(run, RunResult("failed", error_class="crash", error=text))

    def _record(self, run: Run, result: RunResult) -> None:
        self._book.finish_run(run, result)
        self._result_file(run).unlink(missing_ok=True)
        shutil.rmtree(self._run_folder(run), ignore_errors=True)
        self._finished(run, result)

    def _left(self, run: Run) -> RunResult | None:
        path = self._result_file(run)
        if not path.exists():
            return None
        try:
            return read_result(path)
        except AutorlError:
            path.replace(path.with_suffix(".damaged"))
            return None

    def _run_folder(self, run: Run) -> Path:
        return self._folder / f"{run.trial}-{run.phase}-{run.seed}"

    def _result_file(self, run: Run) -> Path:
        return self._folder / "results" / f"{run.trial}-{run.phase}-{run.seed}.json"
