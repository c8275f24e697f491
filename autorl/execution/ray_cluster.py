"""Runs as tasks of a Ray cluster: one that is there, or one that is started on this machine for the study.

A task does not train. On the node where Ray has put it, it supervises the run with a `ProcessExecutor`, so that what a
crash, a hang or too much memory is does not depend on where a run trains. What it hears it passes on as a stream. Ray
retries nothing: a run that ended with its node is reported as preempted, and the engine starts it again.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from autorl.errors import AutorlError
from autorl.execution.processes import ProcessExecutor
from autorl.execution.protocol import Cause, Ended, Event, Order
from autorl.spec.study import ResourcesSpec, StudySpec
from autorl.trial import Run

try:
    import ray
    from ray import exceptions
    from ray._private import ray_constants, services
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as _error:
    raise AutorlError("executor 'ray' needs Ray; run: pip install 'autorl[ray]'") from _error

_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 5.0
_OBJECT_STORE_BYTES = 80 * 2**20  # the least that Ray accepts: events are small, results travel as files
_LOST = (exceptions.NodeDiedError, exceptions.ObjectLostError)

_GUARD = """\
import contextlib, psutil, shutil, sys
processes = []
for pid in sys.stdin.readline().split():
    with contextlib.suppress(psutil.Error):
        processes.append(psutil.Process(int(pid)))
sys.stdin.read()
for process in processes:
    with contextlib.suppress(psutil.Error):
        process.kill()
psutil.wait_procs(processes, timeout=5)
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""

# The executor of a Ray worker process, kept for its fork server. Such a process serves one engine only.
_trainer: ProcessExecutor | None = None


@dataclass
class _Running:
    orders: tuple[Order, ...]
    stream: ray.ObjectRefGenerator
    node: str = ""
    answer: ray.ObjectRef[None] | None = None
    cancelled: bool = False


class RayExecutor:
    """Runs each order as a Ray task with `execution.resources`, at most `execution.workers` at a time."""

    def __init__(self, spec: StudySpec) -> None:
        execution = spec.execution
        self._workers = execution.parallel
        self._spec = spec.model_copy(update={"execution": execution.model_copy(update={"workers": 1})})
        self._flag = f"drain-{secrets.token_hex(8)}"  # nobody else's: one that was left behind drains nothing
        self._running: dict[Run, _Running] = {}
        with ExitStack() as opened:
            if execution.address is None:
                opened.enter_context(_local_cluster(math.ceil(self._workers * execution.resources.cpu)))
            else:
                opened.enter_context(_joined_cluster(execution.address))
            _check_room(execution.resources)
            self._opened = opened.pop_all()
        self._supervise = ray.remote(
            num_cpus=execution.resources.cpu,
            num_gpus=execution.resources.gpu,
            max_retries=0,
            num_returns="streaming",
        )(supervise)

    @property
    def free(self) -> int:
        """How many more tasks may be submitted."""
        return self._workers - len(self._running)

    def submit(self, *orders: Order) -> None:
        """Submit a task for the runs; it starts as soon as the cluster has room."""
        orders = tuple(replace(o, folder=o.folder.absolute(), result=o.result.absolute()) for o in orders)
        for order in orders:
            order.folder.mkdir(parents=True, exist_ok=True)
        stream = self._supervise.remote(orders, self._spec, orders[0].folder / self._flag, sys.path)
        self._running[orders[0].run] = _Running(orders, stream)

    def poll(self, seconds: float) -> list[Event]:
        """Wait until a supervisor says something, and return one message of each that has one."""
        waiting: dict[Any, _Running] = {r.answer or r.stream: r for r in self._running.values()}
        if not waiting:
            return []
        ready, _ = ray.wait(list(waiting), timeout=seconds)
        if ready:
            ready, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        events: list[Event] = []
        for source in ready:
            running = waiting[source]
            heard = _heard(running) if source is running.stream else _answered(running.orders, source)
            if any(isinstance(event, Ended) for event in heard):
                del self._running[running.orders[0].run]
                (running.orders[0].folder / self._flag).unlink(missing_ok=True)
            events += heard
        return events

    def drain(self) -> None:
        """Ask all supervisors to have their runs saved; tasks that still wait for room are withdrawn."""
        for running in self._running.values():
            if running.node or ray.wait([running.stream], timeout=0)[0]:
                (running.orders[0].folder / self._flag).touch()
            else:
                running.cancelled = True
                ray.cancel(running.stream, force=True)

    def close(self) -> None:
        """Kill all supervisors, with whom their runs die, and leave the cluster, or stop it if it was started here."""
        for running in self._running.values():
            ray.cancel(running.stream, force=True)
        ends = [running.stream.completed() for running in self._running.values()]
        if ends:
            ray.wait(ends, num_returns=len(ends), timeout=_GRACE_SECONDS)
        for running in self._running.values():
            (running.orders[0].folder / self._flag).unlink(missing_ok=True)
        self._running.clear()
        self._opened.close()


def supervise(
    orders: Sequence[Order], spec: StudySpec, flag: Path, path: Sequence[str]
) -> Iterator[tuple[str, list[Event]]]:
    """Be the task of orders: train them in a process on this node.

    Args:
        orders: the runs.
        spec: their study.
        flag: a file in the first run's folder that asks to save and end.
        path: where the engine finds modules: environments and wrappers are found there too, if this node has them.

    Yields:
        The id of this node, and what has happened; the last event says how the run ended.
    """
    global _trainer
    sys.path += [entry for entry in path if entry not in sys.path]
    node = ray.get_runtime_context().get_node_id()
    yield node, []
    try:
        if _is_there(flag):
            yield node, _all_ended(orders, "preempted", "it was asked to stop")
            return
        if _trainer is None:
            _trainer = ProcessExecutor(spec, pinned=False)
        _trainer.submit(*orders)
        draining, ended = False, False
        while not ended:
            events = _trainer.poll(_LOOK_SECONDS)
            if events:
                yield node, events
            ended = any(isinstance(event, Ended) for event in events)
            if not draining and _is_there(flag):
                draining = True
                _trainer.drain()
    except Exception:  # noqa: BLE001 - whatever it was, the engine decides what becomes of the run
        yield node, _all_ended(orders, "exception", traceback.format_exc())
    finally:
        if _trainer is not None:
            _trainer.close()


def _all_ended(orders: Sequence[Order], cause: Cause, detail: str) -> list[Event]:
    return [Ended(order.run, cause, detail) for order in orders]


def _is_there(flag: Path) -> bool:
    """Look for a file by listing its folder: a network file system may remember for a minute that a file is missing."""
    if not flag.parent.is_dir():
        raise AutorlError(f"{flag.parent} is not there: every node must see the folder of execution.folder")
    return flag in flag.parent.iterdir()


def _heard(running: _Running) -> list[Event]:
    """Return what a supervisor says. Where Ray cannot tell a dead node from a dead worker yet, the node is asked."""
    events: list[Event]
    try:
        running.node, events = ray.get(next(running.stream))
    except exceptions.RayError as error:
        if running.cancelled:
            return _all_ended(running.orders, "preempted", "it was withdrawn before it had started")
        if isinstance(error, exceptions.OutOfMemoryError):
            return _all_ended(running.orders, "out_of_memory", str(error))
        if isinstance(error, _LOST):
            return _all_ended(running.orders, "preempted", str(error))
        if isinstance(error, exceptions.WorkerCrashedError):
            if not running.node:
                return _all_ended(running.orders, "crash", str(error))
            there = NodeAffinitySchedulingStrategy(running.node, soft=False)
            running.answer = ray.remote(_answer).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote()
            return []
        return _all_ended(running.orders, "exception", str(error))
    return events


def _answer() -> None:
    """Say that this node is alive."""


def _answered(orders: Sequence[Order], answer: ray.ObjectRef[None]) -> list[Event]:
    try:
        ray.get(answer)
    except exceptions.RayError as error:
        return _all_ended(orders, "preempted", f"its node died: {error}")
    return _all_ended(orders, "crash", "the Ray worker that supervised the run died")


def _check_room(wanted: ResourcesSpec) -> None:
    """Raise an error if no node of the cluster could ever run an order."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= wanted.cpu and node.get("GPU", 0) >= wanted.gpu for node in nodes):
        has = ", ".join(sorted({f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes}))
        raise AutorlError(
            f"execution.resources: a run takes {wanted.cpu:g} CPU and {wanted.gpu:g} GPU, "
            f"which no node of the Ray cluster has (they have {has})"
        )


@contextmanager
def _connection(what: str, address: str, **options: Any) -> Iterator[None]:
    """Be connected to a cluster.

    Args:
        what: what is attempted, for the error message.
        address: its address, or `local` to start one.
        options: further arguments of `ray.init`.

    Raises:
        AutorlError: the connection cannot be made.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (exceptions.RayError, OSError, RuntimeError, ValueError) as error:
        raise AutorlError(f"cannot {what}: {error}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put its own there
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _joined_cluster(address: str) -> Iterator[None]:
    """Be connected to a cluster that is there, and goes on in the end."""
    what = f"join the Ray cluster at '{address}' (execution.address)"
    try:
        # Ray itself would try for many minutes, and end this process rather than raise.
        host, _, port = (services.canonicalize_bootstrap_address(address, None) or "").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_GRACE_SECONDS).close()
    except (OSError, ValueError) as error:
        raise AutorlError(f"cannot {what}: {error}") from error
    with _connection(what, address):
        yield


@contextmanager
def _local_cluster(cpus: int) -> Iterator[None]:
    """Be connected to a cluster of this machine alone, which is stopped in the end.

    It listens on the loopback interface only, and only to those who know its token. It has a folder of its own, so that
    nobody who looks for a cluster on this machine finds this one.
    """
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    with ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="autorl-ray-")
        guarded = stack.enter_context(_guard(folder))
        stack.enter_context(_environment(token))
        with _loopback():
            stack.enter_context(
                _connection(
                    "start a Ray cluster on this machine",
                    "local",
                    num_cpus=max(1, cpus),
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=folder,
                )
            )
        guarded(psutil.Process().children(recursive=True))
        yield


@contextmanager
def _guard(folder: str) -> Iterator[Callable[[list[psutil.Process]], None]]:
    """Start a process that ends what is left of a cluster when this one has, and removes its folder.

    After a `kill -9` of the engine most of Ray ends with it, but its agents would stay for another minute.

    Yields:
        A function that takes the processes to end.
    """
    guard = subprocess.Popen(
        [sys.executable, "-c", _GUARD, folder], stdin=subprocess.PIPE, text=True, start_new_session=True
    )
    assert guard.stdin is not None

    def guarded(processes: list[psutil.Process]) -> None:
        print(*(process.pid for process in processes if process.pid != guard.pid), file=guard.stdin, flush=True)

    try:
        yield guarded
    finally:
        guard.stdin.close()
        guard.wait()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a time, and have Ray, which reads them when it is imported, read them anew."""
    before = {name: os.environ.get(name) for name in values}

    def reread() -> None:
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()

    os.environ.update(values)
    reread()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        reread()


@contextmanager
def _loopback() -> Iterator[None]:
    """Have Ray take 127.0.0.1 for the address of this machine, which it does only where it supports no second one."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
