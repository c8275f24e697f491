"""What every executor promises. A test module makes a class of its own from `ExecutorConformance`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autorl.execution.protocol import Ended, Event, Executor, Order, Progressed
from autorl.execution.worker import read_result
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


def order(folder: Path, seed: int, recipe: Recipe = RECIPE) -> Order:
    """Return an order whose files lie in a folder."""
    return Order(
        Run(7, "tuning", seed), recipe, recipe.env_steps, "return", folder / f"{seed}.pt", 60.0, folder / f"{seed}.json"
    )


def until_ended(executor: Executor, count: int) -> list[Event]:
    """Poll until so many runs have ended."""
    events: list[Event] = []
    deadline = time.monotonic() + 60
    while sum(isinstance(event, Ended) for event in events) < count:
        assert time.monotonic() < deadline, events
        events += executor.poll(0.2)
    return events


class ExecutorConformance:
    """Give `make`, which makes an executor with so many workers, as a fixture."""

    @pytest.fixture
    def executor(self, make: Callable[[int], Executor]) -> Iterator[Executor]:
        made = make(2)
        yield made
        made.close()

    def test_a_run_reports_ends_and_leaves_its_result(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(order(tmp_path, 0))
        events = until_ended(executor, 1)
        result = read_result(tmp_path / "0.json")
        assert result.status == "completed"
        assert [e.point for e in events if isinstance(e, Progressed)] == list(result.curve)
        assert events[-1] == Ended(Run(7, "tuning", 0), "returned")

    def test_where_it_runs_does_not_change_a_result(self, executor: Executor, tmp_path: Path) -> None:
        from autorl.execution import worker

        executor.submit(order(tmp_path / "there", 1))
        until_ended(executor, 1)
        worker.train(order(tmp_path / "here", 1), lambda _seed, _point: None)
        there, here = (read_result(tmp_path / place / "1.json") for place in ("there", "here"))
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
        result = read_result(tmp_path / "0.json")
        assert (result.status, result.error_class) == ("failed", "exception")
        assert "the simulator broke" in (result.error or "")
