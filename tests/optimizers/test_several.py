"""Several objectives and constraints: what optimizers make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from quickly import some

from autorl.analysis import hypervolume
from autorl.optimizers.optuna_samplers import GP, NSGA2, NSGA3, QMC, RANDOM, TPE
from autorl.optimizers.protocol import WAIT, Method, Question
from autorl.optimizers.race import RACE
from autorl.optimizers.scalarize import scalarized
from autorl.optimizers.smac3 import SMAC
from autorl.spec.space import Configuration, Numeric, Parameter, SearchSpace
from autorl.trial import Proposal, TrialResult

SPACE = SearchSpace(tuple(Parameter(name, Numeric(0.0, 1.0), name) for name in "abcd"))
SEEDS, POINTS = (0, 1), (50, 100)
SEVERAL = {"race": RACE, "tpe": TPE, "gp": GP, "nsga2": NSGA2, "nsga3": NSGA3, "smac": SMAC, "qmc": QMC}
OPTIONS: dict[str, dict[str, Any]] = {"nsga2": {"population_size": 12}, "nsga3": {"population_size": 12}}
MINIMIZE = ("minimize", "minimize")


def measures(config: Configuration, bounded: bool) -> tuple[float, ...]:
    """Return ZDT1 in four dimensions (Zitzler et al. 2000), and as a cost its first parameter."""
    a, *rest = config.values.values()
    g = 1 + 3 * float(np.mean(rest))
    found = (a, g * (1 - float(np.sqrt(a / g))))
    return (*found, a) if bounded else found


def result(proposal: Proposal, bounds: tuple[tuple[float, float], ...], single: bool) -> TrialResult:
    """Return what training gives: halfway it is half as far from the worst."""
    found = measures(proposal.config, bool(bounds))
    if single:
        found = found[1:]
    objectives = len(found) - len(bounds)
    course = tuple((at, found) for at in POINTS if at <= proposal.until)
    curves = {seed: tuple((at, own[0]) for at, own in course) for seed in proposal.seeds}
    violations = tuple(s * (m - b) for (s, b), m in zip(bounds, found[objectives:], strict=True))
    return TrialResult(found[0], curves, found[:objectives], violations, dict.fromkeys(proposal.seeds, course))


def tried(
    name: str, method: Method, count: int, bounds: tuple[tuple[float, float], ...] = (), single: bool = False
) -> list[Proposal]:
    """Return what an optimizer proposes for so many full runs on all seeds."""
    budget = count * POINTS[-1] * len(SEEDS)
    options = method.options(**OPTIONS.get(name, {}))
    others = () if single else ("minimize",)
    optimizer = method.make(Question(SPACE, SEEDS, POINTS, "minimize", 0, budget, 10, options, others, bounds))
    proposals: list[Proposal] = []
    steps = 0
    while steps < budget:
        proposal = optimizer.ask(len(proposals))
        assert proposal is not WAIT
        if proposal is None:
            break
        optimizer.take(len(proposals), proposal)
        optimizer.tell(len(proposals), result(proposal, bounds, single))
        proposals.append(proposal)
        begun = next((p.until for p in proposals[-2::-1] if p.trial == proposal.trial and p.seeds == proposal.seeds), 0)
        steps += len(proposal.seeds) * (proposal.until - begun)
    return proposals


def covered(proposals: list[Proposal]) -> float:
    """Return the hypervolume of what was trained in full."""
    full = [measures(p.config, False) for p in proposals if p.until == POINTS[-1]]
    return hypervolume(full, [1.0, 4.0], MINIMIZE)


@pytest.mark.parametrize("name", some((name for name in SEVERAL if name != "qmc"), "race", "tpe", "nsga2"))
def test_it_covers_more_of_the_front_than_random_search(name: str) -> None:
    count = 24 if name in ("gp", "smac") else 48
    assert covered(tried(name, SEVERAL[name], count)) > covered(tried("random", RANDOM, count))


@pytest.mark.parametrize("name", some(["race", "tpe", "gp", "nsga2"], "race", "tpe"))
def test_it_keeps_to_a_constraint(name: str) -> None:
    """Unconstrained the optimum is at a = 1; the constraint forbids more than 0.3."""
    proposals = tried(name, SEVERAL[name], 24 if name == "gp" else 48, ((1.0, 0.3),), single=True)
    later = [p.config.values["a"] <= 0.3 for p in proposals[len(proposals) // 2 :]]
    assert np.mean(later) > 0.5
    allowed = [measures(p.config, False)[1] for p in proposals if p.config.values["a"] <= 0.3]
    at_random = [measures(p.config, False)[1] for p in tried("random", RANDOM, 24) if p.config.values["a"] <= 0.3]
    assert min(allowed) < min(at_random)


@pytest.mark.parametrize("name", SEVERAL)
def test_a_study_that_goes_on_proposes_what_it_would_have(name: str) -> None:
    whole = tried(name, SEVERAL[name], 16)
    method = SEVERAL[name]
    options = method.options(**OPTIONS.get(name, {}))
    budget = 16 * POINTS[-1] * len(SEEDS)
    optimizer = method.make(Question(SPACE, SEEDS, POINTS, "minimize", 0, budget, 10, options, ("minimize",)))
    for number, proposal in enumerate(whole[:13]):
        optimizer.take(number, proposal)
        optimizer.tell(number, result(proposal, (), False))
    assert optimizer.ask(13) == whole[13]


def test_what_fails_and_what_diverges_is_borne() -> None:
    for name, method in SEVERAL.items():
        options = method.options(**OPTIONS.get(name, {}))
        question = Question(SPACE, SEEDS, POINTS, "minimize", 0, None, 10, options, ("minimize",))
        optimizer = method.make(question)
        for number in range(14):
            proposal = optimizer.ask(number)
            assert isinstance(proposal, Proposal), name
            optimizer.take(number, proposal)
            diverged = TrialResult(9.0, {}, (9.0, 9.0))
            ends = {0: TrialResult(None), 1: diverged}
            optimizer.tell(number, ends.get(number % 4, result(proposal, (), False)))


def test_the_scalarization_of_a_worked_example() -> None:
    """Ranks of (1, 3), (2, 2), (3, 1) are thirds; the last violates its bound."""
    rows = np.array([[1.0, 3.0, 0.0], [2.0, 2.0, 0.0], [3.0, 1.0, 5.0]])
    weights = np.array([0.5, 0.5])
    shares = np.array([1 / 6, 3 / 6, 5 / 6])
    even = -0.5 * np.maximum(shares, shares[::-1]) - 0.05 * 0.5
    assert scalarized(rows, MINIMIZE, (), weights) == pytest.approx(even)
    bounded = scalarized(rows, MINIMIZE, ((1.0, 4.0),), weights)
    assert bounded[:2] == pytest.approx(even[:2])
    assert bounded[2] == pytest.approx(-2.0 - 5 / 6)
    turned = scalarized(-rows, ("maximize", "maximize"), ((-1.0, -4.0),), weights)
    assert turned == pytest.approx(bounded)
