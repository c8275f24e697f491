"""The Gaussian process, apart from the others: it needs PyTorch, and takes its time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest
from conformance.optimizers import OptimizerConformance

from autorl.optimizers import optuna_samplers
from autorl.optimizers.optuna_samplers import GP, GP_TRIALS, RANDOM, part_of
from autorl.optimizers.protocol import Method, Question
from autorl.spec.space import Choice, Numeric, Parameter, SearchSpace
from autorl.trial import Proposal, TrialResult

SPACE = SearchSpace(
    (
        Parameter("x", Numeric(0.0, 1.0), "x"),
        Parameter("y", Numeric(1e-4, 1.0, log=True), "y"),
        Parameter("kind", Choice(("good", "bad")), "kind"),
    )
)


class TestGp(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        # The model takes over near the end of what the suite drives, so that it is asked a few times only.
        late = GP.options(startup_trials=38)
        return Method(lambda question: GP.make(replace(question, options=late)), GP.options)


def value(proposal: Proposal) -> float:
    values = proposal.config.values
    return (values["x"] - 0.7) ** 2 + (np.log10(values["y"]) + 2) ** 2 + (values["kind"] == "bad")


def found_by(method: Method, count: int, told: int = 0) -> list[float]:
    """Return the values of proposals, after a number of random ones that the optimizer is told."""
    question = Question(SPACE, (0,), (1,), "minimize", 3, options=method.options())
    optimizer = method.make(question)
    source = RANDOM.make(replace(question, options=RANDOM.options()))
    found = []
    for number in range(told + count):
        proposal = (source if number < told else optimizer).ask(number)
        assert isinstance(proposal, Proposal)
        proposal = replace(proposal, trial=number)
        optimizer.take(number, proposal)
        found.append(value(proposal))
        optimizer.tell(number, TrialResult(found[-1]))
        if number < told:
            source.take(number, proposal)
    return found[told:]


def test_a_gaussian_process_finds_the_optimum_in_few_trials() -> None:
    assert np.median(found_by(GP, 8, told=12)[-4:]) < 0.05
    assert np.median(found_by(RANDOM, 20)) > 0.5


def test_it_is_optunas() -> None:
    question = Question(SPACE, (0,), (1,), "minimize", 3, options=GP.options())
    optimizer, study = GP.make(question), optuna.create_study()
    source = RANDOM.make(replace(question, options=RANDOM.options()))
    for number in range(15):
        proposal = source.ask(number)
        assert isinstance(proposal, Proposal)
        source.take(number, proposal)
        optimizer.take(number, proposal)
        optimizer.tell(number, TrialResult(value(proposal)))
        study.add_trial(
            optuna.create_trial(
                value=value(proposal),
                params=dict(proposal.config.coordinates),
                distributions={
                    "x": optuna.distributions.FloatDistribution(0.0, 1.0),
                    "y": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
                    "kind": optuna.distributions.CategoricalDistribution(("good", "bad")),
                },
            )
        )
    study.sampler = optuna.samplers.GPSampler(seed=question.draw(15))
    trial = study.ask()
    expected = {
        "x": trial.suggest_float("x", 0.0, 1.0),
        "y": trial.suggest_float("y", 1e-4, 1.0, log=True),
        "kind": trial.suggest_categorical("kind", ("good", "bad")),
    }
    found = optimizer.ask(15)
    assert isinstance(found, Proposal)
    assert found.config.coordinates == expected


def test_of_many_trials_the_best_and_the_latest_are_used() -> None:
    rng = np.random.default_rng(0)
    trials = [optuna.create_trial(value=float(v)) for v in rng.permutation(1000)]
    for number, trial in enumerate(trials):
        trial.number = number
    for maximize in (True, False):
        part = part_of(trials, [maximize])
        assert len(part) == GP_TRIALS
        assert part == sorted(part, key=lambda trial: trial.number)
        ordered = sorted(trials, key=lambda trial: trial.value, reverse=maximize)
        best = ordered[: GP_TRIALS // 2]
        assert all(trial in part for trial in best)
        rest = [trial for trial in trials if trial not in best]
        assert all(trial in part for trial in rest[-(GP_TRIALS - len(best)) :])


def test_of_many_trials_that_violate_a_constraint_those_that_do_not_are_used() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(1000):
        trial = study.ask()
        trial.set_constraint("0", number / 100 - 0.3)  # the more of the objective, the worse
        study.tell(trial, float(number))
    part = {trial.number for trial in part_of(study.get_trials(deepcopy=False), [True])}
    assert set(range(31)) <= part  # feasible, and the lowest
    assert set(range(GP_TRIALS // 2)) <= part


def test_with_a_part_of_the_trials_it_still_finds_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna_samplers, "GP_TRIALS", 40)
    assert np.median(found_by(GP, 4, told=200)) < 0.05
