"""Optuna's samplers keep the promises of optimizers, and propose what Optuna alone would."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from conformance.optimizers import SEEDS, SPACE, Drive, OptimizerConformance, drive, question, result_of, score

from autorl.errors import AutorlError
from autorl.optimizers.optuna_samplers import CMA_ES, NSGA2, NSGA3, QMC, RANDOM, TPE
from autorl.optimizers.pbt import PBT
from autorl.optimizers.protocol import Method, Question
from autorl.optimizers.race import RACE
from autorl.spec.distributions import distribution
from autorl.spec.space import Choice, Configuration, Numeric, Parameter, Prior, SearchSpace
from autorl.trial import Proposal, TrialResult

SPHERE = SearchSpace(tuple(Parameter(f"x{i}", Numeric(0.0, 1.0), f"x{i}") for i in range(4)))


def small(method: Method, population: int) -> Method:
    """Return a method whose generations are small enough for several of them in a test."""
    options = method.options(population_size=population)
    return Method(lambda q: method.make(replace(q, options=options)), method.options)


class TestRandom(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return RANDOM


class TestTpe(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return TPE


class TestCmaEs(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return CMA_ES


class TestQmc(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return QMC


class TestNsga2(OptimizerConformance):
    repeats = True

    @pytest.fixture
    def method(self) -> Method:
        return small(NSGA2, 6)


class TestNsga3(OptimizerConformance):
    repeats = True

    @pytest.fixture
    def method(self) -> Method:
        return small(NSGA3, 6)


def sphere_error(method: Method, seed: int, count: int, space: SearchSpace = SPHERE) -> float:
    """Return the mean distance from the optimum of the last ten proposals."""
    optimizer = method.make(Question(space, (0,), (1,), "minimize", seed, options=method.options()))
    distances = []
    for number in range(count):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        optimizer.take(number, proposal)
        distances.append(float(np.linalg.norm([proposal.config.values[p.name] - 0.3 for p in SPHERE])))
        optimizer.tell(number, TrialResult(distances[-1] ** 2))
    return float(np.mean(distances[-10:]))


@pytest.mark.parametrize(
    ("method", "count", "below"),
    [(TPE, 100, 0.25), (CMA_ES, 200, 0.06), (small(NSGA2, 10), 200, 0.45), (small(NSGA3, 10), 200, 0.45)],
    ids=["tpe", "cma_es", "nsga2", "nsga3"],
)
def test_what_learns_finds_the_optimum_of_a_sphere(method: Method, count: int, below: float) -> None:
    assert min(sphere_error(RANDOM, seed, 100) for seed in range(3)) > 0.6
    assert max(sphere_error(method, seed, count) for seed in range(3)) < below


def test_tpe_learns_where_only_some_parameters_matter() -> None:
    def late_mean(method: Method, seed: int) -> float:
        return float(np.mean([score(p.config) for p in drive(method, seed, 60).proposals[30:]]))

    gains = [late_mean(TPE, seed) - late_mean(RANDOM, seed) for seed in range(5)]
    assert min(gains) > 0


def test_tpe_is_optunas() -> None:
    whole = drive(TPE, count=30, pending=3)
    number = len(whole.proposals)
    study = optuna.create_study(direction="maximize")
    known = whole._told
    for place, proposal in enumerate(whole.proposals):
        params = dict(proposal.config.coordinates)
        finished = place < known
        study.add_trial(
            optuna.create_trial(
                state=optuna.trial.TrialState.COMPLETE if finished else optuna.trial.TrialState.RUNNING,
                value=result_of(proposal).value if finished else None,
                params=params,
                distributions={name: distribution(SPACE[name]) for name in params},
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.TPESampler(seed=question(TPE).draw(number), group=True, constant_liar=True)
    trial = study.ask()
    expected = SPACE.build(lambda parameter: trial._suggest(parameter.name, distribution(parameter)))
    found = whole.optimizer.ask(number)
    assert isinstance(found, Proposal)
    assert found.config == expected


def test_cma_es_is_the_evolution_strategy_of_its_reference() -> None:
    from cmaes import CMA

    optimizer = CMA_ES.make(Question(SPHERE, (0,), (1,), "minimize", 5, options=CMA_ES.options(population_size=6)))
    proposals, values = [], []
    for number in range(1 + 4 * 6):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        optimizer.take(number, proposal)
        proposals.append(np.array([proposal.config.values[f"x{i}"] for i in range(4)]))
        values.append(float(np.sum((proposals[-1] - 0.3) ** 2)))
        optimizer.tell(number, TrialResult(values[-1]))
    reference = CMA(np.full(4, 0.5), 1 / 6, bounds=np.array([[0.0, 1.0]] * 4), population_size=6)
    for generation in range(4):  # after the first trial, which is random
        members = range(1 + 6 * generation, 7 + 6 * generation)
        reference.tell([(proposals[number], values[number]) for number in members])
    # Proposals of the next generation, whoever seeds them, come from the distribution of the reference.
    drawn = []
    for seed in range(400):
        again = CMA_ES.make(Question(SPHERE, (0,), (1,), "minimize", 5, options=CMA_ES.options(population_size=6)))
        if seed == 0:
            fresh = again
            for number, (point, value) in enumerate(zip(proposals, values, strict=True)):
                config = Configuration(
                    {f"x{i}": x for i, x in enumerate(point)}, {f"x{i}": x for i, x in enumerate(point)}
                )
                fresh.take(number, Proposal(number, config, (0,), 1))
                fresh.tell(number, TrialResult(value))
        found = fresh.ask(len(proposals) + seed)
        assert isinstance(found, Proposal)
        drawn.append([found.config.values[f"x{i}"] for i in range(4)])
    deviation = np.sqrt(np.diag(reference._C)) * reference._sigma
    assert np.abs(np.mean(drawn, axis=0) - reference.mean) / deviation == pytest.approx(np.zeros(4), abs=0.2)
    assert np.std(drawn, axis=0) / deviation == pytest.approx(np.ones(4), abs=0.15)


def test_cma_es_goes_on_when_a_parameter_proves_conditional() -> None:
    # Rarely inactive: Optuna alone takes the child for common to all trials, and then gives up for good.
    kinds = tuple(range(20))
    child = Parameter("child", Numeric(0.0, 1.0), "child", when=(("kind", kinds[1:]),))
    space = SearchSpace((*SPHERE, Parameter("kind", Choice(kinds), "kind"), child))
    assert max(sphere_error(CMA_ES, seed, 150, space) for seed in range(4, 8)) < 0.15


def test_quasi_random_search_fills_every_dimension_evenly() -> None:
    # A scrambled Sobol sequence has exactly one of its first 64 points in each of 64 equal parts of each dimension.
    found = drive(QMC, count=64).proposals
    rates = np.log10([proposal.config.values["rate"] for proposal in found])
    assert np.histogram(rates, bins=64, range=(-5, -1))[0].tolist() == [1] * 64
    assert sum(proposal.config.values["clip"] for proposal in found) == 32
    discounts = np.log10([1 - proposal.config.values["discount"] for proposal in found])
    assert np.histogram(discounts, bins=64, range=(-3, -1))[0].tolist() == [1] * 64


def test_random_covers_the_space_as_its_scales_say() -> None:
    found = drive(RANDOM, count=400).proposals
    rates = np.log10([p.config.values["rate"] for p in found])
    assert np.histogram(rates, bins=4, range=(-5, -1))[0].min() > 70
    assert {p.config.values["batch"] for p in found} == {8, 16, 32, 64, 128, 256}
    assert sum(p.config.values["clip"] for p in found) == pytest.approx(200, abs=50)


@pytest.mark.parametrize(
    "method",
    [RANDOM, TPE, QMC, CMA_ES, NSGA2, NSGA3, RACE, PBT],
    ids=["random", "tpe", "qmc", "cma", "nsga2", "nsga3", "race", "pbt"],
)
def test_first_proposals_come_from_the_priors(method: Method) -> None:
    rate = Parameter("rate", Numeric(1e-5, 1e-1, log=True), "rate", prior=Prior(1e-2, 0.1))
    space = SearchSpace((Parameter("clip", Choice((True, False)), "clip"), rate))
    optimizer = method.make(Question(space, (0,), (1,), "maximize", 0, options=method.options()))
    found = []
    for number in range(8):  # told nothing, so none of them has a model
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        optimizer.take(number, proposal)
        found.append(np.log10(proposal.config.values["rate"]))
    assert np.abs(np.array(found) + 2).max() < 0.4
    assert np.std(found) > 0.02


def test_a_configuration_may_be_tuned_on_fewer_seeds() -> None:
    assert {proposal.seeds for proposal in drive(TPE, seeds=2).proposals} == {SEEDS[:2]}
    with pytest.raises(AutorlError, match=r"optimizer\.seeds: 4, but the study has 3"):
        drive(TPE, seeds=4)


def test_trials_that_leave_a_parameter_to_the_algorithm_change_no_model() -> None:
    coordinates = {"rate": 1e-3, "discount": 0.01, "clip": False}
    partial = Configuration({**coordinates, "discount": 0.99}, coordinates)
    assert partial.inside
    for method in (TPE, CMA_ES, small(NSGA2, 6)):
        whole = Drive(method.make(question(method)), 0, [partial] * 12).go(60)
        rates = [np.log10(proposal.config.values["rate"]) for proposal in whole.proposals[40:]]
        assert np.std(rates) < 1.0  # uniform: 1.15


def test_a_study_goes_on_in_another_process_as_in_this_one() -> None:
    # Sets of names are ordered by a hash that differs from process to process.
    script = (
        "from conformance.optimizers import drive\n"
        "from autorl.optimizers.optuna_samplers import CMA_ES, NSGA2, TPE\n"
        "print([dict(p.config.values) for m in (TPE, CMA_ES) for p in drive(m, count=40, pending=2).proposals])\n"
        "print([dict(p.config.values) for p in drive(NSGA2, count=60).proposals])\n"
    )
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent)])
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
