"""Ray Tune's searchers keep the promises of optimizers as far as they are seeded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
import ray
from conformance.optimizers import (
    POINTS,
    SEEDS,
    SPACE,
    Drive,
    OptimizerConformance,
    curve,
    drive,
    question,
    result_of,
    score,
)
from ray.tune.search import Searcher

from autorl.errors import AutorlError
from autorl.optimizers.optuna_samplers import RANDOM
from autorl.optimizers.protocol import WAIT, Method
from autorl.optimizers.ray_search import METRIC, RAY, RayOptions
from autorl.spec.distributions import distribution
from autorl.spec.space import Choice, Configuration, Numeric, Parameter, SearchSpace
from autorl.trial import Proposal, TrialResult

OPTUNA = "ray.tune.search.optuna:OptunaSearch"


made: list[Climber] = []


class Climber(Searcher):
    """Random steps from the best so far, at most `width` at a time, and `total` in all."""

    def __init__(self, seed: int = 0, width: int = 100, total: int = 1000) -> None:
        super().__init__()
        self.random = np.random.default_rng(seed)
        self.width, self.total = width, total
        self.running: dict[str, dict[str, Any]] = {}
        self.best: tuple[float, dict[str, Any] | None] = (-np.inf, None)
        self.heard: list[tuple[Any, ...]] = []
        made.append(self)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict, **spec: Any) -> bool:
        self._metric, self._mode, self.space = metric, mode, config
        return True

    def suggest(self, trial_id: str) -> Any:
        if len(self.running) >= self.width:
            return None
        if self.total == 0:
            return Searcher.FINISHED
        self.total -= 1
        found = {k: v.sample(random_state=self.random) for k, v in self.space.items()}
        if self.best[1] is not None and self.random.random() < 0.9:
            kept = self.random.choice(sorted(found))
            found = {**self.best[1], kept: found[kept]}
        self.running[trial_id] = found
        return found

    def on_trial_result(self, trial_id: str, result: dict) -> None:
        assert trial_id in self.running
        self.heard.append((trial_id, result, False))

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        self.heard.append((trial_id, result, error))
        config = self.running.pop(trial_id)
        if result:
            value = result[self._metric] * (1 if self._mode == "max" else -1)
            self.best = max(self.best, (value, config), key=lambda pair: pair[0])


class Learner(Climber):
    """Takes in what it did not suggest."""

    def add_evaluated_point(self, parameters: dict, value: float, **kwargs: Any) -> None:
        self.heard.append((parameters, value))


class Deaf(Climber):
    def set_search_properties(self, metric: str | None, mode: str | None, config: dict, **spec: Any) -> bool:
        return False


def method_of(searcher: str, **arguments: Any) -> Method:
    return replace(RAY, options=partial(RayOptions, searcher=searcher, arguments=arguments))  # type: ignore[arg-type]


def here(searcher: type[Searcher], **arguments: Any) -> Method:
    return method_of(f"{__name__}:{searcher.__name__}", **arguments)


class TestOptunaSearch(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return method_of(OPTUNA)


class TestClimber(OptimizerConformance):
    repeats = True

    @pytest.fixture
    def method(self) -> Method:
        return here(Climber)


class TestTwoAtATime(OptimizerConformance):
    repeats = True

    @pytest.fixture
    def method(self) -> Method:
        return here(Climber, width=2)


def test_optuna_search_proposes_what_optuna_does() -> None:
    asked = question(method_of(OPTUNA))
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=asked.draw(0)))
    distributions = {parameter.name: distribution(parameter) for parameter in SPACE}
    for proposal in drive(method_of(OPTUNA), count=25, pending=0).proposals:
        trial = study.ask(distributions)
        assert dict(proposal.config.coordinates).items() <= trial.params.items()
        study.tell(trial, result_of(proposal).value)


def test_it_learns() -> None:
    found = [score(p.config) for p in drive(here(Climber), count=60).proposals]
    random = [score(p.config) for p in drive(RANDOM, count=60).proposals]
    assert np.mean(found[30:]) > np.mean(random) + 0.5


def test_a_searcher_hears_what_ray_tune_would_tell_it() -> None:
    whole = drive(here(Climber), count=1).finish()
    curves = [[y for _, y in curve(whole.trials[0], seed, POINTS[-1])] for seed in SEEDS]
    means = np.mean(curves, axis=0)
    heard = made[-1].heard
    assert [r["training_iteration"] for _, r, _ in heard] == list(range(1, 11))
    assert [r["timesteps_total"] for _, r, _ in heard] == list(POINTS)
    assert [r[METRIC] for _, r, _ in heard] == pytest.approx(list(means))


def test_a_failed_trial_ends_with_an_error() -> None:
    Drive(here(Climber).make(question(here(Climber))), fail=lambda number: True).go(1).finish()
    assert made[-1].heard == [("0", None, True)]


def test_a_trial_that_diverged_has_a_result_and_no_curve() -> None:
    optimizer = here(Climber).make(question(here(Climber)))
    proposal = optimizer.ask(0)
    assert isinstance(proposal, Proposal)
    optimizer.take(0, proposal)
    optimizer.tell(0, TrialResult(-9.0))
    assert [(result[METRIC], error) for _, result, error in made[-1].heard] == [(-9.0, False)]


def test_it_waits_and_ends_as_the_searcher_says() -> None:
    method = here(Climber, width=1, total=2)
    optimizer = method.make(question(method))
    first = optimizer.ask(0)
    assert isinstance(first, Proposal)
    optimizer.take(0, first)
    assert optimizer.ask(1) is WAIT
    optimizer.tell(0, result_of(first))
    second = optimizer.ask(1)
    assert isinstance(second, Proposal)
    optimizer.take(1, second)
    optimizer.tell(1, result_of(second))
    assert optimizer.ask(2) is None


def test_optuna_search_learns_from_what_it_did_not_suggest() -> None:
    method = method_of(OPTUNA)
    config = drive(method, 1, 1).trials[0]
    whole = Drive(method.make(question(method)), 0, [config]).go(20).finish()
    again = Drive(method.make(question(method)), 0)
    again.restore(whole.proposals[:12], whole.known[:12])
    assert again.go(8).proposals == whole.proposals


@pytest.mark.parametrize("inside", [True, False])
def test_a_suggestion_that_is_not_trained_is_withdrawn(inside: bool) -> None:
    coordinates = {"rate": 0.01, "discount": 0.01, "batch": 5, "net": "[64]", "clip": False}
    if not inside:
        del coordinates["batch"]
    config = Configuration({name: SPACE[name].value(c) for name, c in coordinates.items()}, coordinates)
    whole = Drive(here(Learner).make(question(here(Learner))), 0, [config]).go(1).finish()
    heard = made[-1].heard
    assert heard[0] == ("0", None, True)
    assert len(heard) == 1 + inside
    if inside:
        assert heard[1][0].items() > coordinates.items()
        assert set(heard[1][0]) == {parameter.name for parameter in SPACE}
        assert heard[1][1] == result_of(whole.proposals[0]).value


def test_minimizing_turns_the_mode_around() -> None:
    here(Climber).make(replace(question(here(Climber)), direction="minimize"))
    assert made[-1].mode == "min"


@pytest.mark.parametrize(
    ("searcher", "message"),
    [
        ("ray.tune.search.optuna:Missing", "no searcher"),
        ("nowhere:Searcher", "no searcher"),
        ("collections:Counter", "makes no ray.tune.search.Searcher"),
        (f"{__name__}:Deaf", "refuses the search space"),
    ],
)
def test_what_is_no_searcher_is_an_error(searcher: str, message: str) -> None:
    with pytest.raises(AutorlError, match=message):
        method_of(searcher).make(question(method_of(searcher)))


def test_arguments_that_it_does_not_take_are_an_error() -> None:
    with pytest.raises(AutorlError, match="wings"):
        here(Climber, wings=2).make(question(here(Climber, wings=2)))


@pytest.mark.parametrize(
    "limits",
    [
        Numeric(0.5, 2.0),
        Numeric(1e-4, 1.0, log=True),
        Numeric(0.5, 2.0, step=0.5),
        Numeric(0.1, 1.0, step=0.3),
        Numeric(1, 9, integer=True),
        Numeric(1, 1000, log=True, integer=True),
        Numeric(4, 16, step=4, integer=True),
        Numeric(3, 15, step=4, integer=True),
        Choice((1, "a", None)),
    ],
)
def test_every_kind_of_range_is_searched_whole(limits: Numeric | Choice) -> None:
    space = SearchSpace((Parameter("x", limits, "x"),))
    asked = replace(question(here(Climber)), space=space)
    optimizer = here(Climber).make(asked)
    found = []
    for number in range(80):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        optimizer.take(number, proposal)
        optimizer.tell(number, TrialResult(None))
        found.append(proposal.config.coordinates["x"])
    if isinstance(limits, Choice):
        assert set(found) == set(limits.labels)
    elif limits.step or (limits.high < 10 and limits.integer):
        assert len(set(found)) == round((limits.high - limits.low) / (limits.step or 1)) + 1
    else:
        assert min(found) < 1.0 if not limits.log else min(found) < 100 * limits.low
        assert max(found) > 0.1 * limits.high


def test_no_ray_cluster_is_started() -> None:
    drive(method_of(OPTUNA), count=3).finish()
    assert not ray.is_initialized()
