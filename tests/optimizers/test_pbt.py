"""Population-based training selects and explores as Ray Tune's does, and finds the schedule that a task wants."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from conformance.optimizers import OptimizerConformance
from probe_population import OTHER, POINTS, RATE, SPACE, train

from autorl.errors import AutorlError
from autorl.optimizers.pbt import PBT, perturbed
from autorl.optimizers.population import Member, ends, quantiles
from autorl.optimizers.positions import at, positions
from autorl.optimizers.protocol import WAIT, Method, Question
from autorl.spec.space import Choice, Configuration, Numeric, Parameter, SearchSpace
from autorl.trial import Proposal, TrialResult


class TestPBT(OptimizerConformance):
    repeats = True  # 0.8 and then 1.2 is 1.2 and then 0.8: the same configuration, later in training

    @pytest.fixture
    def method(self) -> Method:
        return PBT


def members(values: list[float]) -> list[Member]:
    return [Member(trial, Configuration({}), None, value) for trial, value in enumerate(values)]


def rays(values: list[float], **options: Any) -> Any:
    """Return Ray Tune's scheduler with trials of these scores; a trial is its number."""
    pbt = pytest.importorskip("ray.tune.schedulers.pbt")

    class Numbered(int):
        def is_finished(self) -> bool:
            return False

    scheduler = pbt.PopulationBasedTraining(hyperparam_mutations={"rate": lambda: 0.0}, **options)
    for trial, value in enumerate(values):
        state = pbt._PBTTrialState.__new__(pbt._PBTTrialState)
        state.last_score = value
        scheduler._trial_state[Numbered(trial)] = state
    return scheduler


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8, 11, 30])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.4, 0.5])
def test_quantiles_are_those_of_ray_tune(size: int, fraction: float) -> None:
    rng = np.random.default_rng(size)
    for values in (rng.normal(size=size).tolist(), rng.integers(0, 3, size).astype(float).tolist()):
        bottom, top = quantiles(members(values), fraction)
        expected = rays(values, quantile_fraction=fraction)._quantiles()
        assert ([m.trial for m in bottom], [m.trial for m in top]) == tuple(map(list, expected))


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_perturbation_is_that_of_ray_tune_within_the_space(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pbt = pytest.importorskip("ray.tune.schedulers.pbt")
    rate, whole = Numeric(1e-5, 1e-1, log=True), Numeric(1, 100, integer=True)
    monkeypatch.setattr(random, "choice", lambda _: factor)
    for values in ({"rate": 3e-4, "whole": 10}, {"rate": 7e-3, "whole": 33}, {"rate": 1.1e-5, "whole": 3}):
        expected, _ = pbt._explore(values, {"rate": lambda: 0, "whole": lambda: 0}, 0.0, (0.8, 1.2), None)
        assert perturbed(rate, values["rate"], factor) == max(expected["rate"], 1e-5)
        assert perturbed(whole, values["whole"], factor) == expected["whole"]


def test_perturbation_keeps_to_the_domain() -> None:
    assert perturbed(Numeric(0.0, 1.0), 0.9, 1.2) == 1.0
    assert perturbed(Numeric(1, 10, integer=True), 2, 1.2) == 3  # 2.4 would round to 2, for ever
    assert perturbed(Numeric(1, 10, integer=True), 2, 0.8) == 1
    assert perturbed(Numeric(1, 10, integer=True), 1, 0.8) == 1
    assert perturbed(Numeric(0.0, 1.0, step=0.25), 0.5, 1.2) == 0.75
    assert perturbed(Numeric(0.0, 0.9, step=0.25), 0.75, 1.2) == 0.75
    assert perturbed(Choice(("a", "b")), "a", 1.2) == "a"


DOMAINS = [
    Numeric(1e-5, 1e-1, log=True),
    Numeric(-3.0, 2.0),
    Numeric(1, 1000, integer=True, log=True),
    Numeric(3, 8, integer=True),
    Numeric(16, 100, integer=True, step=16),
    Numeric(0.1, 0.9, step=0.1),
    Numeric(2, 2, integer=True),
    Choice(([64], "large", True)),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_positions_cover_a_domain_and_lead_back(domain: Numeric | Choice) -> None:
    found = [at(domain, x) for x in np.linspace(0, 1, 1001)]
    assert all(domain.contains(coordinate) for coordinate in found)
    if isinstance(domain, Choice):
        assert set(found) == set(domain.labels)
        return
    assert found[0] == pytest.approx(domain.low)
    parameter = Parameter("p", domain, "p")
    for coordinate in found[::50]:
        (place,) = positions([parameter], Configuration({}, {"p": coordinate}))
        assert at(domain, place) == pytest.approx(coordinate)
    if domain.integer and not domain.log and domain.low < domain.high:
        counts = [found.count(value) for value in sorted(set(found))]
        assert max(counts) - min(counts) <= 2


def test_generations_end_at_points() -> None:
    def found(points: tuple[int, ...], interval: float) -> tuple[int, ...]:
        return ends(Question(SPACE, (0,), points, "maximize", 0), interval)

    assert found(POINTS, 0.1) == POINTS
    assert found(POINTS, 0.3) == (300, 600, 900, 1000)
    assert found((200, 600, 1000), 0.1) == (200, 600, 1000)
    assert found((1000,), 0.1) == (1000,)


def test_the_winner_has_found_the_schedule() -> None:
    for seed in range(5):
        done = train(PBT, seed=seed, population=12, count=120)
        schedule = np.log10(done.schedule(done.winner(), "rate"))
        assert len(schedule) == len(POINTS)
        assert schedule[-3:].mean() < schedule[:3].mean() - 0.5
        assert np.corrcoef(schedule, np.arange(len(schedule)))[0, 1] < -0.7


def test_forks_start_from_the_top_and_replace_the_bottom() -> None:
    done = train(PBT, population=8, quantile=0.25, count=80)
    for first in range(8, 80, 8):
        before = dict(zip([p.trial for p in done.proposals[first - 8 : first]], done.values[first - 8 :], strict=False))
        ranked = sorted(before, key=lambda trial: before[trial] or 0.0)
        generation = done.proposals[first : first + 8]
        assert [p.resume_from == p.trial for p in generation] == [False] * 2 + [True] * 6
        assert {p.resume_from for p in generation[:2]} <= set(ranked[-2:])
        assert {p.trial for p in generation[2:]} == set(ranked[2:])
        assert {p.until for p in generation} == {POINTS[first // 8]}


def test_only_what_can_still_be_resumed_is_needed() -> None:
    done = train(PBT, population=8, quantile=0.25, count=80)
    assert max(map(len, done.needed)) <= 8 + 2
    at_start = done.needed[8]
    assert len(at_start) == 6
    assert done.proposals[8].resume_from in at_start
    assert done.needed[11] >= {done.proposals[n].trial for n in (8, 9, 10)}
    assert done.needed[79] == {done.proposals[79].trial}


def test_only_numbers_that_shape_nothing_change() -> None:
    space = SearchSpace(
        (
            RATE,
            Parameter("n_steps", Numeric(5, 11, integer=True), "n_steps", transform="power_of_two"),
            Parameter("steps_of_ppo", Numeric(5, 11, integer=True), "n_steps", transform="power_of_two"),
            Parameter("policy.width", Numeric(1, 100), "policy.width"),
            Parameter("task.env_kwargs.gravity", Numeric(1, 10), "task.env_kwargs.gravity"),
            Parameter("depth", Numeric(1, 3, integer=True), "depth"),
            Parameter("child", Numeric(0.0, 1.0), "child", when=(("depth", (1, 2)),)),
            Parameter("kind", Choice(("a", "b")), "kind"),
        )
    )
    for named, expected in ((None, {"rate", "child"}), (("kind", "policy.width"), {"kind", "policy.width"})):
        done = train(PBT, space=space, population=8, count=80, mutable=named)
        configs = {p.trial: dict(p.config.values) for p in done.proposals}
        changed = {
            name
            for trial, parent in done.parents.items()
            if parent is not None
            for name, value in configs[trial].items()
            if value != configs[parent][name]
        }
        assert changed == expected


def test_what_cannot_be_a_population_is_refused() -> None:
    space = SearchSpace((Parameter("n_steps", Numeric(1, 9), "n_steps"), Parameter("kind", Choice((1, 2)), "kind")))
    with pytest.raises(AutorlError, match=r"name those that may in 'optimizer\.mutable'"):
        train(PBT, space=space)
    with pytest.raises(AutorlError, match="'ratio': must be among other, rate"):
        train(PBT, mutable=("ratio",))


def test_a_fork_keeps_what_the_space_cannot_express() -> None:
    space = SearchSpace(
        (RATE, OTHER, Parameter("n_steps", Choice((128, 512)), "n_steps"), Parameter("kind", Choice((1, 2)), "kind"))
    )
    # The default: a rate and a number of steps outside the space, no `other`, `kind` left to the algorithm.
    default = Configuration({"rate": 0.5, "n_steps": 2048})
    done = train(PBT, lambda config, _: float(config.values["n_steps"]), space, first=default, population=4, count=12)
    forks = [p for p in done.proposals if p.resume_from == 0 and p.trial != 0]
    assert forks
    for fork in forks:
        assert fork.config.values["n_steps"] == 2048
        assert "kind" not in fork.config.values
        assert fork.config.coordinates.keys() == {"rate", "other"}


def test_failed_members_are_replaced_and_a_failed_generation_begins_anew() -> None:
    done = train(PBT, population=4, count=8, fail=lambda p: p.trial in (1, 2, 3) and p.until == 100)
    assert [p.resume_from for p in done.proposals[4:8]] == [0, 0, 0, 0]
    assert done.needed[4] == {0}
    assert done.needed[3] == {0}
    done = train(PBT, population=4, count=12, fail=lambda p: p.until == 200)
    assert [p.resume_from for p in done.proposals[8:]] == [None] * 4
    assert [p.trial for p in done.proposals[8:]] == [5, 6, 7, 8]
    assert done.needed[8] == set()


def test_the_budget_decides_how_many_train_to_the_end() -> None:
    whole = POINTS[-1]
    for runs, seeds, population, expected in ((24, (0, 1, 2), None, 8), (25, (0,), 8, 8), (1, (0,), None, 2)):
        done = train(PBT, seeds=seeds, budget=runs * whole, population=population)
        assert done.ended
        assert sum(p.resume_from is None for p in done.proposals[:expected]) == expected
        populations = max(1, runs // (expected * len(seeds)))
        assert done.spent == populations * expected * len(seeds) * whole
        assert sum(p.until == whole for p in done.proposals) == populations * expected


def test_fewer_seeds_are_the_first_of_them() -> None:
    question = Question(SPACE, (7, 8, 9), POINTS, "maximize", 0, 12 * POINTS[-1], 10, PBT.options(seeds=2))
    proposal = PBT.make(question).ask(0)
    assert isinstance(proposal, Proposal)
    assert proposal.seeds == (7, 8)


def test_minimizing_mirrors_maximizing() -> None:
    up, down = (train(PBT, population=6, count=60, direction=d) for d in ("maximize", "minimize"))
    assert up.proposals == down.proposals


def test_two_forks_of_a_donor_never_train_the_same() -> None:
    space = SearchSpace((Parameter("depth", Numeric(1, 1000, integer=True), "depth"),))
    options = {"population": 12, "quantile": 0.5, "resample": 0.0}
    done = train(PBT, lambda config, _: float(config.values["depth"]), space, count=120, **options)
    born = [(p.resume_from, p.until, p.config.values["depth"]) for p in done.proposals[12:] if p.resume_from != p.trial]
    assert len(born) == 54
    assert len(set(born)) == len(born)


def test_it_waits_for_the_generation_only() -> None:
    question = Question(SPACE, (0,), POINTS, "maximize", 0, None, 10, PBT.options(population=3))
    optimizer = PBT.make(question)
    for number in range(3):
        proposal = optimizer.ask(number)
        assert isinstance(proposal, Proposal)
        optimizer.take(number, proposal)
    assert optimizer.ask(3) is WAIT
    for number in range(3):
        assert optimizer.ask(3) is WAIT
        optimizer.tell(number, TrialResult(math.sin(number)))
    assert optimizer.ask(3) is not WAIT
