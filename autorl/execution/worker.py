"""What a worker does: train runs and leave their results and checkpoints in files."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from autorl.errors import AutorlError
from autorl.execution.protocol import Alive, Event, Order, Progressed, Saved, Stalled
from autorl.plugins import find
from autorl.training.protocol import Backend, Job
from autorl.trial import Checkpoint, Point, Run, RunResult

ALIVE_SECONDS = 0.5
_RETRY_SECONDS = 0.5
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class WorkerHost:
    """What a backend has around it in a worker: events for the engine, files for its state; see `training.Host`.

    Attributes:
        saved: the last checkpoint.
    """

    def __init__(self, order: Order, tell: Callable[[Event], None], stopping: Callable[[], bool]) -> None:
        self._order, self._tell, self._stopping = order, tell, stopping
        self._told, self._saves = 0.0, 0
        self.saved: Checkpoint | None = None

    def evaluated(self, point: Point) -> None:
        """Report an evaluation."""
        self._tell(Progressed(self._order.run, point))

    def alive(self, env_steps: int) -> None:
        """Report that training moves on, twice a second at most."""
        now = time.monotonic()
        if now - self._told > ALIVE_SECONDS:
            self._told = now
            self._tell(Alive(self._order.run, env_steps))

    def save(self, env_steps: int, content: memoryview) -> None:
        """Write a checkpoint under a name that no other has, and report it with its hash."""
        self._saves += 1
        name = f"{self._order.attempt}-{env_steps}-{self._saves}.checkpoint"
        write_atomically(self._order.folder / name, content, self._stalled)
        self.saved = Checkpoint(name, hashlib.sha256(content).hexdigest(), env_steps)
        self._tell(Saved(self._order.run, self.saved))

    def stopping(self) -> bool:
        """Say whether this worker was asked to end."""
        return self._stopping()

    def _stalled(self, reason: str) -> None:
        self._tell(Stalled(self._order.run, reason))


def train(orders: Sequence[Order], tell: Callable[[Event], None], stopping: Callable[[], bool]) -> None:
    """Train the runs of orders together, write their results, and return when they are safely on disk.

    Args:
        orders: the runs; more than one only if their backend can train them in one call.
        tell: takes what happens meanwhile.
        stopping: whether the runs should save their state and end.

    Raises:
        Interrupted: they did.
    """
    backend: Backend = find("autorl.backends", orders[0].recipe.backend)()
    hosts = [WorkerHost(order, tell, stopping) for order in orders]
    files = [_verified(order) for order in orders]
    jobs = [
        Job(order.recipe, order.run.seed, order.until, resume, order.checkpoint_seconds)
        for order, (resume, _) in zip(orders, files, strict=True)
    ]
    try:
        results = backend.train(jobs, hosts)
    except MemoryError:
        results = [RunResult("failed", error_class="out_of_memory", error=traceback.format_exc())] * len(orders)
    for order, host, (_, notes), result in zip(orders, hosts, files, results, strict=True):
        # With the result goes the file to go on from: the engine may not live to hear of it otherwise.
        saved = host.saved if order.until < order.recipe.env_steps else None
        whole = dataclasses.replace(result, notes=(*notes, *result.notes), checkpoint=saved)
        write_result(order, whole, partial(_stalls, tell, order.run))


def _stalls(tell: Callable[[Event], None], run: Run, reason: str) -> None:
    tell(Stalled(run, reason))


def _verified(order: Order) -> tuple[Path | None, tuple[str, ...]]:
    """Return the checkpoint's file if its content is what the ledger recorded; move it out of the way if it is not."""
    if order.resume is None:
        return None, ()
    path = order.folder / order.resume.file
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return None, (f"started anew: {path.name} cannot be read ({error.strerror})",)
    if found == order.resume.sha256:
        return path, ()
    path.replace(path.with_suffix(".damaged"))
    return None, (f"started anew: {path.name} is not the file that was recorded",)


def result_file(folder: Path, run: Run, attempt: int) -> Path:
    """Return the file for the result of an attempt at a run."""
    return folder / f"{run.trial}-{run.phase}-{run.seed}.{attempt}.json"


def write_result(order: Order, result: RunResult, stalled: Callable[[str], None]) -> None:
    """Write a result so that a reader sees all of it or nothing."""
    write_atomically(order.result, memoryview(json.dumps(result.to_dict()).encode()), stalled)


def read_result(path: Path) -> RunResult:
    """Read a result that a worker left.

    Raises:
        AutorlError: the file is damaged.
    """
    try:
        return RunResult.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise AutorlError(f"{path}: damaged result file ({type(error).__name__}: {error})") from error


def write_atomically(path: Path, content: memoryview, stalled: Callable[[str], None]) -> None:
    """Write a file to a temporary one, flush it to disk, and rename it; wait for as long as the disk is full.

    Args:
        path: the file.
        content: what it will hold.
        stalled: called with what is wrong whenever there is no room.
    """
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            temporary.unlink(missing_ok=True)
            stalled(f"{path.parent}: {error.strerror}")
            time.sleep(_RETRY_SECONDS)
        else:
            return
