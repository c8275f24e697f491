"""Both executors keep the promises, and a process is all that a crash costs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conformance.executors import LONG, RECIPE, ExecutorConformance, order, study, until, until_ended
from processes import alive

from autorl.errors import AutorlError
from autorl.execution.inline import InlineExecutor
from autorl.execution.processes import ProcessExecutor
from autorl.execution.protocol import Alive, Ended, Executor
from autorl.execution.worker import read_result, write_result
from autorl.trial import Recipe, RunResult


class TestInline(ExecutorConformance):
    drains = False

    @pytest.fixture
    def make(self) -> Callable[[int], Executor]:
        return lambda workers: InlineExecutor(study(workers))


class TestProcesses(ExecutorConformance):
    @pytest.fixture
    def make(self) -> Callable[[int], Executor]:
        return lambda workers: ProcessExecutor(study(workers))

    def test_runs_train_side_by_side(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(order(tmp_path, 0, LONG))
        assert executor.free == 1
        executor.submit(order(tmp_path, 1, LONG))
        assert executor.free == 0

    def test_a_killed_worker_costs_its_run_alone(self, executor: Executor, tmp_path: Path) -> None:
        dying = Recipe.from_dict(
            {**RECIPE.to_dict(), "env": "probe_envs:autorl-tests/Broken-v0", "env_kwargs": {"how": "die"}}
        )
        executor.submit(order(tmp_path, 0, dying))
        executor.submit(order(tmp_path, 1))
        events = until_ended(executor, 2)
        causes = {event.run.seed: event.cause for event in events if isinstance(event, Ended)}
        assert causes == {0: "crash", 1: "returned"}
        assert not (tmp_path / "0.1.json").exists()
        assert read_result(tmp_path / "1.1.json").status == "completed"

    def test_close_leaves_no_process(self, make: Callable[[int], Executor], tmp_path: Path) -> None:
        executor = make(2)
        executor.submit(order(tmp_path, 0, LONG))
        while not executor.poll(1.0):
            pass
        before = _workers()
        executor.close()
        assert before
        assert not any(map(alive, before))


def _workers() -> list[psutil.Process]:
    """Return the training processes below this one: children of the fork server, deeper than itself."""
    mine = psutil.Process()
    servers = [p for p in mine.children() if "forkserver" in " ".join(p.cmdline())]
    return [child for server in servers for child in server.children(recursive=True)]


def test_workers_die_with_a_killed_engine(tmp_path: Path) -> None:
    script = tmp_path / "engine.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from test_support import start\n"
        "if __name__ == '__main__':\n"
        "    start(Path(sys.argv[2]))\n"
    )
    (tmp_path / "test_support.py").write_text(
        "from conformance.executors import LONG, order, study\n"
        "from autorl.execution.processes import ProcessExecutor\n"
        "def start(folder):\n"
        "    executor = ProcessExecutor(study(1))\n"
        "    executor.submit(order(folder, 0, LONG))\n"
        "    while True:\n"
        "        if executor.poll(1.0):\n"
        "            print('training', flush=True)\n"
    )
    tests = str(Path(__file__).parents[1])
    engine = subprocess.Popen(
        [sys.executable, str(script), tests, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": tests},
    )
    assert engine.stdout is not None
    assert engine.stdout.readline() == "training\n"
    below = psutil.Process(engine.pid).children(recursive=True)
    assert len(below) >= 2
    engine.kill()
    engine.wait()
    engine.stdout.close()
    deadline = time.monotonic() + 60
    while left := [*filter(alive, below)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_a_truncated_result_is_named(tmp_path: Path) -> None:
    asked = order(tmp_path, 1)
    write_result(asked, RunResult("completed", scores=(1.0,)), print)
    assert read_result(asked.result).scores == (1.0,)
    asked.result.write_text(asked.result.read_text()[:20])
    with pytest.raises(AutorlError, match=r"1\.1\.json: damaged result file"):
        read_result(asked.result)


def test_a_run_has_a_core_and_a_thread_and_a_limit(tmp_path: Path) -> None:
    executor = ProcessExecutor(study(1, limits={"memory_mb": 5000}))
    before = {*_workers()}
    executor.submit(order(tmp_path, 0, LONG))
    until(executor, Alive)
    (worker,) = {*_workers()} - before
    assert len(worker.cpu_affinity()) == 1
    assert worker.environ()["OMP_NUM_THREADS"] == "1"
    assert worker.rlimit(psutil.RLIMIT_DATA) == (5000 * 2**20, 5000 * 2**20)
    executor.close()
