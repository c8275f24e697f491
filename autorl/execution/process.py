"""The process of a run, or of several trained together: a group with limits of its own, which dies with the engine."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from autorl.execution import worker
from autorl.execution.protocol import Alive, Event, Order, Progressed
from autorl.training.protocol import Interrupted

# Exit statuses that tell the engine how a run ended where there is no result.
PREEMPTED = 75
RAISED = 70
# Environment variable by which the fork server is told which backend to warm.
BACKEND = "AUTORL_PRELOAD_BACKEND"


@dataclass(frozen=True)
class Place:
    """Where and within which limits a run trains.

    Attributes:
        core: the CPU core it is pinned to, or None.
        memory_bytes: how much memory it may use.
        devices: value of `CUDA_VISIBLE_DEVICES`, or None to leave it.
    """

    core: int | None
    memory_bytes: int
    devices: str | None


@dataclass(frozen=True)
class Raised:
    """What a worker says when something outside training raised; its process then ends."""

    error: str


def main(orders: Sequence[Order], place: Place, engine: Connection) -> None:
    """Be the worker process of orders.

    Args:
        orders: the runs.
        place: where they train.
        engine: connection to the engine; it reads as closed as soon as the engine is gone, however it went.
    """
    os.setsid()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Not ignored: a program of the user's would ignore it then, too, and whatever that starts and ends by it.
    signal.signal(signal.SIGINT, lambda *_: None)
    threading.Thread(target=_die_with, args=(engine,), daemon=True).start()
    _confine(place)

    def tell(event: Event) -> None:
        # While the engine waits for its database nobody listens; training goes on, and the result holds it all.
        if isinstance(event, Alive | Progressed) and not select.select([], [engine], [], 0)[1]:
            return
        with contextlib.suppress(BrokenPipeError):  # an engine that has gone takes this process with it
            engine.send(event)

    try:
        worker.train(orders, tell, stop.is_set)
    except Interrupted:
        sys.exit(PREEMPTED)
    except Exception:  # noqa: BLE001 - what could not even be a result is told to the engine
        engine.send(Raised(traceback.format_exc()))
        sys.exit(RAISED)


def _confine(place: Place) -> None:
    if place.core is not None:
        os.sched_setaffinity(0, {place.core})
    resource.setrlimit(resource.RLIMIT_DATA, (place.memory_bytes, place.memory_bytes))
    # Should memory end all the same, the kernel is to take a run, not the engine.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if place.devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = place.devices


def _die_with(engine: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        engine.recv()
    os.killpg(0, signal.SIGKILL)
