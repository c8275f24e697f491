"""SMAC keeps the promises of optimizers, and races as its own facades do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.optimizers import (
    COUNT,
    POINTS,
    SEEDS,
    SPACE,
    Drive,
    OptimizerConformance,
    drive,
    proposals,
    question,
    score,
)
from smac.facade import HyperparameterOptimizationFacade, MultiFidelityFacade
from smac.runhistory import TrialInfo, TrialValue
from smac.scenario import Scenario

from autorl.errors import AutorlError
from autorl.optimizers.optuna_samplers import RANDOM
from autorl.optimizers.protocol import Method
from autorl.optimizers.smac3 import SMAC, SmacOptions
from autorl.spec.configspace import to_configspace
from autorl.spec.parameters import SearchSpaceSpec
from autorl.spec.space import Choice, Configuration, Numeric, Parameter, SearchSpace
from autorl.trial import Proposal, TrialResult


def method_of(facade: str, **options: Any) -> Method:
    return replace(SMAC, options=partial(SmacOptions, facade=facade, **options))  # type: ignore[arg-type]


class TestRacing(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return method_of("hyperparameter")


class TestMultiFidelity(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return method_of("multi_fidelity")


class TestBlackBox(OptimizerConformance):
    @pytest.fixture
    def method(self) -> Method:
        return method_of("blackbox")


def cost(entrant: int, seed: int, until: int) -> float:
    """Return what does not depend on configurations: SMAC and we may propose others, but must race them alike."""
    quality = np.random.default_rng(entrant).normal()
    return float(quality + np.random.default_rng([entrant, seed]).normal(0, 0.5) - np.log(until / POINTS[-1]))


def raced_by_smac(facade: str, pending: int, folder: Path) -> list[tuple[int, int, float]]:
    """Return the (configuration, seed, budget) that SMAC's own facade asks for."""
    space = to_configspace(SPACE, "test")
    made: Any
    if facade == "hyperparameter":
        scenario = Scenario(space, output_directory=folder, n_trials=1000)
        intensifier: Any = HyperparameterOptimizationFacade.get_intensifier(scenario, max_config_calls=len(SEEDS))
        made = HyperparameterOptimizationFacade(scenario, None, intensifier=intensifier, logging_level=False)
    else:
        limits = {"min_budget": POINTS[0], "max_budget": POINTS[-1]}
        scenario = Scenario(space, output_directory=folder, n_trials=1000, **limits)
        made = MultiFidelityFacade(scenario, None, logging_level=False)
    asked: list[TrialInfo] = []
    entrants: list[Any] = []
    found: list[tuple[int, int, float]] = []
    for number in range(COUNT):
        if number > pending:
            done, (entrant, seed, budget) = asked[number - pending - 1], found[number - pending - 1]
            until = next(p for p in POINTS if p >= budget - 1e-6)
            made.tell(done, TrialValue(cost(entrant, seed, until)), save=False)
        info = made.ask()
        asked.append(info)
        if info.config not in entrants:
            entrants.append(info.config)
        seeds = [key.seed for key in made.intensifier.get_instance_seed_keys_of_interest()]
        found.append((entrants.index(info.config), seeds.index(info.seed), info.budget or POINTS[-1]))
    return found


@pytest.mark.parametrize("facade", ["hyperparameter", "multi_fidelity"])
@pytest.mark.parametrize("pending", [0, 3])
def test_it_races_as_smac_does(facade: str, pending: int, tmp_path: Path) -> None:
    method = method_of(facade)
    optimizer = method.make(replace(question(method), direction="minimize"))
    found: list[Proposal] = []
    for number in range(COUNT):
        if number > pending:
            done = found[number - pending - 1]
            optimizer.tell(number - pending - 1, TrialResult(cost(done.trial, done.seeds[0], done.until)))
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        optimizer.take(number, proposal)
        found.append(proposal)
    expected = raced_by_smac(facade, pending, tmp_path)
    assert [p.trial for p in found] == [entrant for entrant, _, _ in expected]
    assert [p.until for p in found] == [next(p for p in POINTS if p >= b - 1e-6) for _, _, b in expected]
    if facade == "hyperparameter":
        assert [p.seeds for p in found] == [(SEEDS[seed],) for _, seed, _ in expected]
        assert {len([p for p in found if p.trial == t]) for t in range(10)} >= {1, len(SEEDS)}
    else:
        assert {p.seeds for p in found} == {SEEDS}
        assert {p.until for p in found} == {200, 400, 1000}


def modelled() -> dict[str, list[dict[str, Any]]]:
    """Return configurations of which all but two come from models."""
    found = {}
    for facade, count in {"hyperparameter": 7, "blackbox": 4}.items():
        whole = drive(method_of(facade, initial=2), count=count)
        found[facade] = [dict(config.coordinates) for config in whole.trials.values()]
    return found


def test_a_model_proposes_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # SMAC goes through sets of configurations, whose order changes with Python's hash seed.
    monkeypatch.chdir(tmp_path)
    here = modelled()
    code = f"import json, runpy; print(json.dumps(runpy.run_path({__file__!r})['modelled']()))"
    tests = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == here
    assert min(map(len, here.values())) == 4
    assert ran.stderr == ""
    assert not list(tmp_path.iterdir())


def test_a_study_with_a_model_goes_on_as_it_would_have() -> None:
    method = method_of("hyperparameter", initial=2)
    whole = drive(method, count=9, pending=2)
    again = Drive(method.make(question(method)), 2)
    again.restore(whole.proposals[:6], whole.known[:6])
    assert again.go(3).proposals == whole.proposals
    assert max(proposal.trial for proposal in whole.proposals[6:]) > 3


def test_it_learns_from_results() -> None:
    found = [score(c) for c in drive(method_of("hyperparameter", initial=8), count=26, pending=0).trials.values()]
    random = [score(p.config) for p in drive(RANDOM, count=100).proposals]
    assert len(found) > 13
    assert np.mean(found[8:]) > np.mean(random) + 0.4


@pytest.mark.parametrize("facade", ["hyperparameter", "multi_fidelity"])
def test_a_failed_trial_is_not_continued(facade: str) -> None:
    method = method_of(facade)
    fails = {0, 1, 2, 5, 6, 7, 8, 14}
    whole = Drive(method.make(question(method)), 0, fail=fails.__contains__).go(39).finish()
    lost = {whole.proposals[number].trial: number for number in fails}
    assert all(p.trial not in lost or number <= lost[p.trial] for number, p in enumerate(whole.proposals))
    assert whole.optimizer.needed()
    assert not set(whole.optimizer.needed()) & set(lost)


def test_what_is_trained_in_place_of_a_proposal_is_raced_and_not_proposed_again() -> None:
    method = method_of("hyperparameter")
    proposed = list(drive(method, count=6, pending=6).trials.values())
    best = Configuration({**proposed[1].values}, {**proposed[1].coordinates})
    whole = Drive(method.make(question(method)), 0, [best]).go(6)
    assert whole.trials[0] == best
    assert [p.config for p in whole.proposals].count(best) == len([p for p in whole.proposals if p.trial == 0]) > 0
    assert proposed[2] in whole.trials.values()  # the design goes on


def test_the_design_ends_where_other_configurations_are_trained_than_it_has() -> None:
    """A table of results has only some configurations; the nearest stands for what was proposed."""
    method = method_of("blackbox", initial=4)
    optimizer, near = method.make(question(method, budget=40 * POINTS[-1])), []
    for number in range(8):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        near.append(proposal.config)
        rate = proposal.config.coordinates["rate"] * 0.99 + 1e-6
        moved = SPACE.build(
            lambda p, own=proposal.config, rate=rate: rate if p.name == "rate" else own.coordinates[p.name]
        )
        optimizer.take(number, replace(proposal, config=moved))
        optimizer.tell(number, TrialResult(score(moved)))
    assert len({tuple(map(str, config.values.items())) for config in near}) == 8


def test_two_budgets_at_one_point_are_trained_once() -> None:
    method = method_of("multi_fidelity", min_steps=100)
    asked = replace(question(method), points=(500, 1000))
    optimizer = method.make(asked)
    found = proposals(optimizer, 30, lambda proposal: TrialResult(score(proposal.config)))
    assert len(found) == 30
    reached: dict[int, int] = {}
    for proposal in found:
        assert proposal.until > reached.get(proposal.trial, 0)
        reached[proposal.trial] = proposal.until
    assert set(reached.values()) == {500, 1000}


def test_an_exhausted_space_ends_the_study() -> None:
    space = SearchSpace((Parameter("x", Choice((64, "large", None, True)), "x"),))
    method = method_of("hyperparameter")
    optimizer = method.make(replace(question(method), space=space, seeds=(0,)))
    found = proposals(optimizer, 5, lambda proposal: TrialResult(float(proposal.trial)))
    assert sorted(str(proposal.config.values["x"]) for proposal in found) == ["64", "None", "True", "large"]


def test_a_small_budget_shortens_the_initial_design() -> None:
    method = method_of("hyperparameter")
    short = method.make(question(method, budget=20 * POINTS[-1]))
    whole = Drive(short, 0)
    while len(whole.trials) < 6:
        whole.go(1)
    design = list(drive(method).trials.values())
    assert list(whole.trials.values())[:5] == design[:5]
    assert whole.trials[5] not in design


def test_a_range_with_a_step_is_refused() -> None:
    asked = question(SMAC)
    space = SearchSpace((Parameter("x", Numeric(0, 1, step=0.25), "x"),))
    with pytest.raises(AutorlError, match="x: ConfigSpace has no range with a step"):
        SMAC.make(replace(asked, space=space))


def test_a_value_at_an_end_that_smac_rounds_is_taken() -> None:
    low = 0.0019526896629932001
    space = SearchSpaceSpec.model_validate({"parameters": {"rate": {"min": low, "max": 0.2}}}).space()
    config = space.build(lambda _parameter: low)
    asked = replace(question(SMAC, 0, 10 * POINTS[-1]), space=space)
    optimizer = SMAC.make(asked)
    proposal = optimizer.ask(0)
    assert isinstance(proposal, Proposal)
    optimizer.take(0, replace(proposal, config=config))
    curves = {seed: tuple((until, 1.0) for until in POINTS) for seed in proposal.seeds}
    optimizer.tell(0, TrialResult(1.0, curves))
    assert isinstance(optimizer.ask(1), Proposal)
