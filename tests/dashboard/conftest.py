"""Ledgers for the dashboard's tests, written through the ledger's own writer: one study for each state of a study."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from autorl.analysis import aggregate
from autorl.ledger.book import Book
from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.trial import Phase, Point, Run, RunResult, bind

DASHBOARD = Path(__file__).parents[2] / "dashboard"
sys.path.insert(0, str(DASHBOARD))  # as `streamlit run` does
PARAMETERS = {
    "learning_rate": {"min": 1e-5, "max": 1e-2, "log": True},
    "vf_clip": {"values": [False, True]},
    "clip_range_vf": {"min": 0.05, "max": 1.0, "when": {"vf_clip": True}},
}


def spec(url: str, name: str, **changes: Any) -> StudySpec:
    data: dict[str, Any] = {
        "study": name,
        "task": {"env": "CartPole-v1"},
        "algorithm": {"backend": "sb3", "name": "ppo"},
        "search_space": {"parameters": PARAMETERS},
        "seeds": {"tuning": "0:3", "validation": "50:52", "test": "100:106"},
        "budget": {"trials": 4, "steps_per_run": 200},
        "evaluation": {"points": 2, "episodes": 1},
        "storage": url,
    }
    return StudySpec.model_validate(data | changes)


class Scribe:
    """Writes a study run by run, without training."""

    def __init__(self, asked: StudySpec) -> None:
        self.book, self.spec = Book(asked, 0), asked

    def trial(self, number: int) -> None:
        values: dict[str, Any] = {"learning_rate": 3e-4 * (number + 1), "vf_clip": number % 2 == 1}
        if number % 2 == 1:
            values["clip_range_vf"] = 0.2
        recipe = bind(self.spec, self.spec.space, values)
        origin = "default" if number == 0 else "optimizer"
        self.book.add_trial(number, origin, Configuration(values, values), recipe, "0:0", self.spec.seeds.tuning)

    def tune(self, number: int, scores: Sequence[float | None]) -> None:
        self.trial(number)
        self.runs(number, "tuning", scores)
        known = [score for score in scores if score is not None]
        value = aggregate(known, self.spec.objective.over_seeds) if len(known) == len(scores) else None
        self.book.finish_trial(number, value)

    def runs(self, number: int, phase: Phase, scores: Sequence[float | None]) -> None:
        seeds = getattr(self.spec.seeds, phase)
        if phase != "tuning":
            self.book.add_runs(number, phase, seeds)
        for seed, score in zip(seeds, scores, strict=True):
            run = Run(number, phase, seed)
            self.book.start_run(run)
            self.book.finish_run(run, failure() if score is None else success(score))

    def finish(self, winner: int | None, tests: Mapping[int, Sequence[float | None]]) -> None:
        for number, scores in tests.items():
            self.runs(number, "test", scores)
        self.book.enter("finished", winner)
        self.close()

    def close(self) -> None:
        self.book.__exit__()


def success(score: float) -> RunResult:
    curve = tuple(Point(steps, steps / 100, {"return": score * steps / 200, "length": 1.0}) for steps in (100, 200))
    return RunResult("completed", curve, 200, 2.0, 2.0, score)


def failure() -> RunResult:
    curve = (Point(100, 1.0, {"return": 1.0, "length": 1.0}),)
    return RunResult("failed", curve, 120, 1.0, 1.0, None, "diverged", "Traceback …\nValueError: the loss is NaN")


@pytest.fixture
def ledger(studies: tuple[str, Scribe]) -> str:
    """Return the URL of a database with a study in every state; the running one has just shown a sign of life."""
    url, running = studies
    running.book.beat({Run(1, "tuning", 0): 100})
    return url


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Scribe]:
    """Return the URL of that database, and who writes the study that is running."""
    url = f"sqlite:///{tmp_path_factory.mktemp('dashboard') / 'ledger.db'}"
    plain = {"tuning": "0:3", "test": "100:106"}
    Scribe(spec(url, "empty")).close()

    one = Scribe(spec(url, "one"))
    one.tune(0, [10.0, 12.0, 14.0])
    one.close()

    running = Scribe(spec(url, "running"))
    running.tune(0, [10.0, 12.0, 14.0])
    running.trial(1)
    running.book.start_run(Run(1, "tuning", 0))

    allfailed = Scribe(spec(url, "allfailed", budget={"trials": 2, "steps_per_run": 200}))
    allfailed.tune(0, [None, None, None])
    allfailed.tune(1, [None, 1.0, None])
    allfailed.finish(None, {})

    novalidation = Scribe(spec(url, "novalidation", seeds=plain))
    for number, scores in enumerate(([10.0, 12.0, 14.0], [30.0, 33.0, 36.0], [1.0, None, 3.0], [20.0, 20.0, 20.0])):
        novalidation.tune(number, scores)
    novalidation.finish(1, {0: [9, 10, 11, 12, 13, 14], 1: [25, 26, 27, 28, 29, 30]})

    broken = Scribe(spec(url, "brokentest", seeds=plain, budget={"trials": 2, "steps_per_run": 200}))
    broken.tune(0, [10.0, 12.0, 14.0])
    broken.tune(1, [30.0, 33.0, 36.0])
    broken.finish(1, {0: [9, 10, 11, 12, 13, 14], 1: [25, None, 27, 28, 29, 30]})

    minimize = Scribe(spec(url, "defaultwins", seeds=plain, objectives=[{"metric": "return", "direction": "minimize"}]))
    for number, scores in enumerate(([1.0, 2.0, 3.0], [30.0, 33.0, 36.0])):
        minimize.tune(number, scores)
    minimize.finish(0, {0: [1, 2, 3, 4, 5, 6]})

    whole = Scribe(spec(url, "whole"))
    for number, scores in enumerate(([10.0, 12.0, 14.0], [30.0, 33.0, 36.0], [31.0, 34.0, 37.0], [5.0, 6.0, 7.0])):
        whole.tune(number, scores)
    for number in (0, 1, 2):
        whole.runs(number, "validation", [20.0 + number, 22.0 - number])
    whole.finish(1, {0: [9, 10, 11, 12, 13, 14], 1: [8, 11, 11, 12, 13, 15], 2: [20, 21, 22, 23, 24, 25]})
    return url, running
