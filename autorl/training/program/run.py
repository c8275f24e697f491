"""One run of the user's own trainer: what it reports becomes a curve, what it keeps becomes a checkpoint."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autorl.errors import CheckpointError
from autorl.training.meter import Meter
from autorl.training.program.reports import Reports
from autorl.training.program.state import pack, unpack
from autorl.training.protocol import Host, Interrupted, Job, out_of_memory
from autorl.training.resumption import Origin
from autorl.trial import FailureClass, Point, Recipe, RunResult

_LINES, _LONGEST = 50, 10_000


class Crashed(Exception):
    """The user's program was killed by a signal."""


class Output(io.TextIOBase):
    """The last lines of what a trainer writes, which go with its error; to it they are a file like `sys.stdout`."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._begun = ""

    def write(self, text: str) -> int:
        """Take text; what has no end of line yet waits for it. A progress bar is many lines, of which few are kept."""
        *lines, begun = (self._begun + text.replace("\r", "\n")).split("\n")
        self._lines.extend(line for line in lines if line)
        self._begun = begun[-_LONGEST:]
        return len(text)

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def fileno(self) -> int:
        """Return the process's own output, to which the trainer's programs write."""
        return super().fileno() if sys.__stdout__ is None else sys.__stdout__.fileno()

    def reconfigure(self, **_: Any) -> None:
        """Do nothing: nothing is held back, and it takes any text."""

    def text(self) -> str:
        """Return the lines."""
        return "\n".join([*self._lines, *([self._begun] if self._begun else [])])


@dataclass
class Call:
    """What a trainer is called for: one recipe of a run, from the state of the run so far.

    Attributes:
        recipe: what it trains.
        seed: of the run.
        until: environment steps at which it is stopped.
        folder: the run's own, which is removed afterwards.
        checkpoint: file in it that the trainer keeps its state in, if it does.
        reports: takes what it reports.
        output: takes what it writes.
        wall_seconds: the seconds trained so far.
        pulse: to be called at least twice a second where that can be: keeps the state, and stops the run if asked to.
            Its argument gathers what was reported and not yet taken.
    """

    recipe: Recipe
    seed: int
    until: int
    folder: Path
    checkpoint: Path
    reports: Reports
    output: Output
    wall_seconds: Callable[[], float]
    pulse: Callable[[Callable[[], None]], None]


class Training:
    """The training of one job.

    Args:
        job: the order.
        host: what it has around it.
        trainer: trains one recipe until its reports are over, or until it ends of its own accord.
    """

    def __init__(self, job: Job, host: Host, trainer: Callable[[Call], None]) -> None:
        self._job, self._host, self._trainer = job, host, trainer
        self._curve: list[Point] = []
        self._notes: list[str] = []
        self._meter, self._inherited = Meter(), 0.0
        self._reports: Reports | None = None
        self._before: dict[str, Any] | None = None
        self._saved = time.monotonic()
        self._kept: tuple[int, int] | None = None
        self._output = Output()

    def result(self) -> RunResult:
        """Train; a failure is a result too."""
        try:
            # What the trainer's own children still write there, or others own, is no fault of the run.
            with tempfile.TemporaryDirectory(prefix="autorl-run-", ignore_cleanup_errors=True) as folder:
                self._train(Path(folder))
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 - it is the user's code that trains
            kind: FailureClass = "exception"
            if isinstance(error, FloatingPointError):
                kind = "diverged"
            elif isinstance(error, Crashed):
                kind = "crash"
            elif out_of_memory(error):
                kind = "out_of_memory"
            said = self._output.text()
            text = "".join(traceback.format_exception(error)) + (f"\nIts last output:\n{said}\n" if said else "")
            return self._ended("failed", error_class=kind, error=text)
        return self._ended("completed")

    def _train(self, folder: Path) -> None:
        segments = self._job.recipe.lineage(self._job.until)
        checkpoint = folder / "checkpoint"
        for recipe, until in segments[self._take_up(segments, checkpoint) :]:
            if recipe.start is not None and not keeps_state(recipe):
                raise ValueError(
                    "the trainer keeps no state that another run could go on from: set program.checkpoint, or use an "
                    "optimizer that forks none"
                )
            self._train_segment(recipe, until, folder, checkpoint)

    def _train_segment(self, recipe: Recipe, until: int, folder: Path, checkpoint: Path) -> None:
        asked = (recipe.program or {})["asked"]
        self._reports = reports = Reports(recipe, asked, until, self._host, self._curve)
        if self._before is not None:
            reports.go_on(self._before)
        if not reports.over:
            self._trainer(
                Call(
                    recipe,
                    self._job.seed,
                    until,
                    folder,
                    checkpoint,
                    reports,
                    self._output,
                    self._wall_seconds,
                    lambda gather: self._pulse(recipe, checkpoint, gather),
                )
            )
        if until < recipe.env_steps and keeps_state(recipe):
            self._save(recipe, checkpoint)
        self._before = reports.state()

    def _take_up(self, segments: Sequence[tuple[Recipe, int]], checkpoint: Path) -> int:
        """Put the trainer's file into its place, if there is one; return the segment that goes on from it."""
        path = self._job.resume
        if path is None:
            return 0
        try:
            origin, reported, content = unpack(path)
            segment, before, self._inherited = origin.taken_up(path, segments, self._job.seed)
        except CheckpointError as error:
            self._notes.append(f"started anew: {error}")
            return 0
        self._meter.go_on(before)
        self._curve += [Point.from_dict(point) for point in reported["curve"]]
        self._before = reported
        checkpoint.write_bytes(content)
        self._kept = _version(checkpoint)
        return segment

    def _pulse(self, recipe: Recipe, checkpoint: Path, gather: Callable[[], None]) -> None:
        stopping = self._host.stopping()
        due = time.monotonic() - self._saved > self._job.checkpoint_seconds
        # A state that was saved is not saved again: to the engine that would be a sign of life.
        if (stopping or due) and keeps_state(recipe) and (version := _version(checkpoint)) not in (None, self._kept):
            content, self._kept = checkpoint.read_bytes(), version
            gather()  # what the state knows has been reported by now, and is not to be missed
            self._save(recipe, checkpoint, content)
        if stopping:
            raise Interrupted

    def _save(self, recipe: Recipe, checkpoint: Path, content: bytes | None = None) -> None:
        assert self._reports is not None
        if content is None:
            with contextlib.suppress(FileNotFoundError):
                content = checkpoint.read_bytes()
        if content is None:
            self._notes.append("it kept no state in the file that it was given, so it will be trained anew")
            return
        seed, steps = self._job.seed, self._reports.env_steps
        run = self._job.recipe.fingerprint(seed)
        origin = Origin(recipe.fingerprint(seed), run, steps, self._meter.spent(), self._inherited)
        reported = {**self._reports.state(), "curve": [point.to_dict() for point in self._curve]}
        self._host.save(steps, pack(origin, reported, content))
        self._saved = time.monotonic()

    def _wall_seconds(self) -> float:
        return self._inherited + self._meter.spent().wall_seconds

    def _ended(self, status: Any, **rest: Any) -> RunResult:
        steps = self._reports.env_steps if self._reports is not None else 0
        return RunResult(
            status, tuple(self._curve), steps, **asdict(self._meter.spent()), notes=tuple(self._notes), **rest
        )


def keeps_state(recipe: Recipe) -> bool:
    """Say whether a recipe's trainer keeps its state in a file."""
    return bool((recipe.program or {})["checkpoint"])


def _version(file: Path) -> tuple[int, int] | None:
    """Return what changes whenever a file is replaced or written, or None if it is not there."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino
