"""One process a run, so that a crash, a leak, a hang or a segmentation fault costs that run alone.

Processes are forked from a server in which the backend has trained once, so that a run starts in a fraction of the
second or two which importing torch takes. Each has one thread for its arithmetic and a core of its own: on a machine
where every core has a run, more threads make all of them slower.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType

import psutil

from autorl.execution import process
from autorl.execution.protocol import Cause, Ended, Event, Order, Stalled
from autorl.spec.study import StudySpec
from autorl.trial import Run

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_GRACE_SECONDS = 5.0
_SHARE_OF_MEMORY = 0.9


@dataclass
class _Running:
    orders: tuple[Order, ...]
    process: ForkServerProcess
    connection: Connection
    core: int | None
    oom_kills: int
    started: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    overdue: str = ""
    raised: str = ""


class ProcessExecutor:
    """Runs each order, or those that come together, in a process group of its own, `execution.workers` at a time.

    Args:
        spec: the study.
        pinned: whether each run gets a core of its own; not where others share the machine out.
    """

    def __init__(self, spec: StudySpec, *, pinned: bool = True) -> None:
        for name in _THREADS:
            os.environ.setdefault(name, "1")
        self._limits = spec.execution.limits
        self._workers = spec.execution.parallel
        self._running: dict[Run, _Running] = {}
        cores = sorted(os.sched_getaffinity(0))
        self._cores = cores if pinned and self._workers <= len(cores) else []
        psutil.cpu_percent(percpu=True)  # what is busy is measured from now on
        os.environ[process.BACKEND] = spec.algorithm.backend
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["autorl.execution.preload"])
        forkserver.ensure_running()  # it gets ready while the engine does

    @property
    def free(self) -> int:
        """How many more processes may start."""
        return self._workers - len(self._running)

    def submit(self, *orders: Order) -> None:
        """Start a process for the runs."""
        ours, theirs = self._context.Pipe()
        core = self._idlest_core()
        place = process.Place(core, self._memory(), os.environ.get("CUDA_VISIBLE_DEVICES"))
        started = self._context.Process(
            target=process.main, args=(orders, place, theirs), name=f"autorl {orders[0].run}"
        )
        with _no_main_module():
            started.start()
        theirs.close()
        self._running[orders[0].run] = _Running(orders, started, ours, core, _oom_kills())

    def poll(self, seconds: float) -> list[Event]:
        """Wait for a report or the end of a process, and stop what has exceeded its limits."""
        handles = [h for r in self._running.values() for h in (r.connection, r.process.sentinel)]
        if handles:
            wait(handles, seconds)
        events: list[Event] = []
        for run, running in list(self._running.items()):
            ended = running.process.exitcode is not None
            events += _reports(running)
            if ended:
                events += self._bury(running)
                del self._running[run]
            else:
                self._check_limits(running)
        return events

    def drain(self) -> None:
        """Ask all processes to save their state and end."""
        for running in self._running.values():
            running.process.terminate()

    def close(self) -> None:
        """Kill all processes, and whatever they have started."""
        for running in self._running.values():
            running.connection.close()  # a process that has no group yet ends itself when it finds this
            _kill_group(running.process)
        for running in self._running.values():
            running.process.join(_GRACE_SECONDS)
        self._running.clear()

    def _idlest_core(self) -> int | None:
        """Return the core with the least to do, of those without a run of this study."""
        taken = {r.core for r in self._running.values()}
        load = psutil.cpu_percent(percpu=True)
        available = [core for core in self._cores if core not in taken]
        return min(available, key=lambda core: load[core] if core < len(load) else 0.0, default=None)

    def _memory(self) -> int:
        if self._limits.memory_mb is not None:
            return self._limits.memory_mb * 2**20
        return int(_SHARE_OF_MEMORY * _memory_bytes())

    def _check_limits(self, running: _Running) -> None:
        now, limits = time.monotonic(), self._limits
        if now - running.heard > limits.progress_seconds:
            running.overdue = f"no progress for {limits.progress_seconds:g} s (execution.limits.progress_seconds)"
        elif limits.run_seconds is not None and now - running.started > limits.run_seconds:
            running.overdue = f"not finished after {limits.run_seconds:g} s (execution.limits.run_seconds)"
        if running.overdue:
            _kill_group(running.process)

    def _bury(self, running: _Running) -> list[Ended]:
        _kill_group(running.process)  # what the environment started does not outlive the run
        running.process.join()
        running.connection.close()
        return [Ended(order.run, *_cause(running)) for order in running.orders]


def _cause(running: _Running) -> tuple[Cause, str]:
    code = running.process.exitcode or 0
    if running.overdue:
        return "hang", running.overdue
    if code in (process.PREEMPTED, -signal.SIGTERM):  # the latter before it could listen
        return "preempted", "it was asked to stop"
    if code == process.RAISED and running.raised:
        return "exception", running.raised
    if code == 0:
        return "returned", ""
    if code == -signal.SIGKILL and _oom_kills() > running.oom_kills:
        return "out_of_memory", "the system killed the worker since its memory was exhausted"
    if code < 0:
        return "crash", f"the worker was killed by {signal.Signals(-code).name}"
    return "crash", f"the worker exited with status {code}"


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep a new process from importing the engine's main module again: it needs nothing of it, and it may be slow."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _reports(running: _Running) -> list[Event]:
    found: list[Event] = []
    try:
        while running.connection.poll():
            event, now = running.connection.recv(), time.monotonic()
            if isinstance(event, Stalled):
                running.started += now - running.heard  # while somebody has to make room, its time does not run
            running.heard = now
            if isinstance(event, process.Raised):
                running.raised = event.error
            else:
                found.append(event)
    except (EOFError, OSError):
        # The worker is going; its end is read from the process, once it is over.
        running.process.join(_GRACE_SECONDS)
    return found


def _kill_group(group: ForkServerProcess) -> None:
    if group.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group.pid, signal.SIGKILL)


def _memory_bytes() -> int:
    """Return the memory that this process may use, in a container or on the machine."""
    total = psutil.virtual_memory().total
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(limit).read_text(encoding="ascii")))
    return total


def _oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory, here and on the machine."""
    count = 0
    for source in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        with contextlib.suppress(OSError, ValueError):
            lines = Path(source).read_text(encoding="ascii").splitlines()
            count += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return count
