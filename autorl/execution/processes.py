"""One process a run, so that a crash, a segmentation fault or a leak costs that run alone.

Processes are forked from a server that has imported the backend once, so that a run starts in a fraction of the second
or two which importing torch takes. Each process has one thread for its arithmetic: on a machine where every core has a
run, more threads make all of them slower.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import ModuleType

from autorl.execution import worker
from autorl.execution.protocol import Ended, Event, Order, Progressed
from autorl.trial import Run

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_GRACE_SECONDS = 5.0


@dataclass
class _Worker:
    process: ForkServerProcess
    connection: Connection


class ProcessExecutor:
    """Runs each order in a process of its own, `workers` at a time."""

    def __init__(self, workers: int, backend: str) -> None:
        for name in _THREADS:
            os.environ.setdefault(name, "1")
        self._workers = workers
        self._context = multiprocessing.get_context("forkserver")
        modules = [entry.module for entry in entry_points(group="autorl.backends", name=backend)]
        self._context.set_forkserver_preload(["autorl.execution.worker", *modules])
        self._running: dict[Run, _Worker] = {}

    @property
    def free(self) -> int:
        """How many more processes may start."""
        return self._workers - len(self._running)

    def submit(self, order: Order) -> None:
        """Start a process for the run."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=worker.main, args=(order, theirs), name=f"autorl {order.run}")
        with _no_main_module():
            process.start()
        theirs.close()
        self._running[order.run] = _Worker(process, ours)

    def poll(self, seconds: float) -> list[Event]:
        """Wait for a report or the end of a process."""
        handles = [h for w in self._running.values() for h in (w.connection, w.process.sentinel)]
        if handles:
            wait(handles, seconds)
        events: list[Event] = []
        for run, running in list(self._running.items()):
            ended = running.process.exitcode is not None
            events += _reports(run, running)
            if ended:
                running.process.join()
                running.connection.close()
                events.append(Ended(run, _reason(running.process.exitcode or 0)))
                del self._running[run]
        return events

    def close(self) -> None:
        """Stop all processes, the stubborn ones by force."""
        for running in self._running.values():
            running.process.terminate()
        for running in self._running.values():
            running.process.join(_GRACE_SECONDS)
            if running.process.is_alive():
                running.process.kill()
                running.process.join()
            running.connection.close()
        self._running.clear()


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep a new process from importing the engine's main module again: it needs nothing of it, and it may be slow."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _reports(run: Run, running: _Worker) -> list[Event]:
    found: list[Event] = []
    try:
        while running.connection.poll():
            found.append(Progressed(run, running.connection.recv()))
    except (EOFError, OSError):
        # The worker is going; its end is read from the process, once it is over.
        running.process.join(_GRACE_SECONDS)
    return found


def _reason(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exited with status {code}" if code else "returned"
