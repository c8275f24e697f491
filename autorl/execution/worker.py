"""What a worker does: train one run and leave its result in a file."""

from __future__ import annotations

import json
import os
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from autorl.errors import AutorlError
from autorl.execution.protocol import Order
from autorl.plugins import find
from autorl.training.protocol import Backend, Job, Report
from autorl.trial import RunResult


def train(order: Order, report: Report) -> None:
    """Train an order's run, write its result, and return when it is safely on disk."""
    backend: Backend = find("autorl.backends", order.recipe.backend)()
    job = Job(
        order.recipe,
        (order.run.seed,),
        order.until,
        {order.run.seed: order.checkpoint},
        order.checkpoint_seconds,
        order.metric,
    )
    (result,) = backend.train(job, report)
    write_result(order.result, result)


def write_result(path: Path, result: RunResult) -> None:
    """Write a result so that a reader sees all of it or nothing: to a temporary file, flushed to disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(result.to_dict(), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_result(path: Path) -> RunResult:
    """Read a result that a worker left.

    Raises:
        AutorlError: the file is damaged.
    """
    try:
        return RunResult.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise AutorlError(f"{path}: damaged result file ({type(error).__name__}: {error})") from error


def main(order: Order, engine: Connection) -> None:
    """Be the worker process of one order: report through the connection, and die with the engine.

    Args:
        order: the run.
        engine: connection to the engine; it reads as closed as soon as the engine is gone, however it went.
    """
    # Ctrl-C reaches every process of the terminal; what becomes of this one is the engine's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with, args=(engine,), daemon=True).start()
    train(order, lambda _seed, point: engine.send(point))


def _die_with(engine: Connection) -> None:
    try:
        engine.recv()
    except (EOFError, OSError):
        os._exit(1)
