"""What every executor promises. A test module makes a class of its own from `ExecutorConformance`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from autorl.execution import worker
from autorl.execution.protocol import Alive, Ended, Event, Executor, Order, Progressed, Saved
from autorl.execution.worker import read_result
from autorl.spec.study import StudySpec
from autorl.trial import Recipe, Run

RECIPE = Recipe(
    "sb3",
    "ppo",
    {"n_steps": 32, "batch_size": 32},
    {"net_arch": [8]},
    "probe_envs:autorl-tests/Bandit-v0",
    {},
    (),
    128,
    2,
    4,
    True,
)
BROKEN = Recipe.from_dict(
    {**RECIPE.to_dict(), "env": "probe_envs:autorl-tests/Broken-v0", "env_kwargs": {"how": "raise"}}
)

_PATIENCE = 180
"""Seconds for events that are sure to come; the first ones of Ray take half a minute, and longer on a busy machine."""

LONG = Recipe.from_dict({**RECIPE.to_dict(), "env_steps": 10_000_000, "evaluation_points": 100_000})


def study(workers: int, **execution: Any) -> StudySpec:
    """Return a study, of which an executor sees what its `execution` section says and which backend it uses."""
    return StudySpec.model_validate(
        {
            "study": "executors",
            "task": {"env": RECIPE.env},
            "algorithm": {"backend": "sb3", "name": "ppo"},
            "search_space": {"parameters": {"gamma": {"min": 0.5, "max": 1.0}}},
            "seeds": {"tuning": "0:1", "test": "1:2"},
            "budget": {"trials": 1, "steps_per_run": 128},
            "execution": {"workers": workers, **execution},
        }
    )


def order(folder: Path, seed: int, recipe: Recipe = RECIPE, attempt: int = 1, **rest: Any) -> Order:
    """Return an order whose files lie in a folder."""
    settings = {"resume": None, "checkpoint_seconds": 60.0, **rest}
    result = folder / f"{seed}.{attempt}.json"
    run = Run(7, "tuning", seed)
    return Order(run, attempt, recipe, recipe.env_steps, folder / str(seed), result=result, **settings)


def until_ended(executor: Executor, count: int) -> list[Event]:
    """Poll until so many runs have ended."""
    events: list[Event] = []
    deadline = time.monotonic() + _PATIENCE
    while sum(isinstance(event, Ended) for event in events) < count:
        assert time.monotonic() < deadline, events
        events += executor.poll(0.2)
    return events


def until(executor: Executor, kind: type[Event], runs: int = 1) -> list[Event]:
    """Poll until something of a kind has happened to so many runs."""
    events: list[Event] = []
    deadline = time.monotonic() + _PATIENCE
    while len({event.run for event in events if isinstance(event, kind)}) < runs:
        assert time.monotonic() < deadline, events
        events += executor.poll(0.2)
    return events


class ExecutorConformance:
    """Give `make`, which makes an executor with so many workers, as a fixture.

    Attributes:
        drains: whether a run can be asked to end while it trains.
    """

    drains = True

    @pytest.fixture
    def executor(self, make: Callable[[int], Executor]) -> Iterator[Executor]:
        made = make(2)
        yield made
        made.close()

    def test_a_run_reports_ends_and_leaves_its_result(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(order(tmp_path, 0))
        events = until_ended(executor, 1)
        result = read_result(tmp_path / "0.1.json")
        assert result.status == "completed"
        assert [e.point for e in events if isinstance(e, Progressed)] == list(result.curve)
        assert events[-1] == Ended(Run(7, "tuning", 0), "returned")

    def test_drained_runs_save_and_end(self, executor: Executor, tmp_path: Path) -> None:
        if not self.drains:
            pytest.skip("its runs train while they are submitted")
        recipe = Recipe.from_dict({**RECIPE.to_dict(), "env_steps": 100_000})
        executor.submit(order(tmp_path, 0, recipe))
        executor.submit(order(tmp_path, 1, recipe))
        until(executor, Alive, runs=2)
        executor.drain()
        events = until_ended(executor, 2)
        assert [e.cause for e in events if isinstance(e, Ended)] == ["preempted", "preempted"]
        saved = [e.checkpoint for e in events if isinstance(e, Saved)]
        left = list(tmp_path.rglob("*.checkpoint"))
        assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in left} == {c.sha256 for c in saved}
        assert len(left) == 2

    def test_a_run_goes_on_from_its_checkpoint(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(order(tmp_path / "whole", 0))
        until_ended(executor, 1)
        executor.submit(order(tmp_path / "part", 0, checkpoint_seconds=0.0))
        *_, last = [e.checkpoint for e in until_ended(executor, 1) if isinstance(e, Saved)]
        assert 0 < last.env_steps < RECIPE.env_steps
        executor.submit(order(tmp_path / "part", 0, attempt=2, resume=last))
        until_ended(executor, 1)
        whole, rest = read_result(tmp_path / "whole" / "0.1.json"), read_result(tmp_path / "part" / "0.2.json")
        assert [(p.env_steps, p.metrics) for p in rest.curve] == [(p.env_steps, p.metrics) for p in whole.curve]
        assert rest.notes == whole.notes

    def test_a_checkpoint_with_another_hash_is_not_loaded(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(order(tmp_path, 0, checkpoint_seconds=0.0))
        *_, last = [e.checkpoint for e in until_ended(executor, 1) if isinstance(e, Saved)]
        file = tmp_path / "0" / last.file
        file.write_bytes(file.read_bytes()[:-1])
        executor.submit(order(tmp_path, 0, attempt=2, resume=last))
        until_ended(executor, 1)
        again = read_result(tmp_path / "0.2.json")
        assert again.status == "completed"
        assert again.notes[0].endswith("is not the file that was recorded")
        assert not file.exists()
        assert file.with_suffix(".damaged").exists()

    def test_where_it_runs_does_not_change_a_result(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(order(tmp_path / "there", 1))
        until_ended(executor, 1)
        worker.train([order(tmp_path / "here", 1)], lambda _event: None, lambda: False)
        there, here = (read_result(tmp_path / place / "1.1.json") for place in ("there", "here"))
        assert [(p.env_steps, p.metrics) for p in there.curve] == [(p.env_steps, p.metrics) for p in here.curve]

    def test_several_runs_each_end_once(self, executor: Executor, tmp_path: Path) -> None:
        waiting, events = list(range(5)), []
        while waiting or sum(isinstance(e, Ended) for e in events) < 5:
            while waiting and executor.free:
                executor.submit(order(tmp_path, waiting.pop()))
            events += executor.poll(0.2)
        assert sorted(e.run.seed for e in events if isinstance(e, Ended)) == [0, 1, 2, 3, 4]
        assert executor.free >= 1

    def test_a_failed_run_leaves_a_result_too(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(order(tmp_path, 0, BROKEN))
        until_ended(executor, 1)
        result = read_result(tmp_path / "0.1.json")
        assert (result.status, result.error_class) == ("failed", "exception")
        assert "the simulator broke" in (result.error or "")
