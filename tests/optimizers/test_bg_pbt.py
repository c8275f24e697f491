"""BG-PBT moves numbers and choices within a trust region, and architectures where a generation ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conformance.optimizers import OptimizerConformance
from probe_population import OTHER, POINTS, RATE, Trained, decaying, train

from autorl.optimizers.bg_pbt import BG_PBT
from autorl.optimizers.protocol import Method
from autorl.optimizers.time_varying_gp import TimeVaryingGP
from autorl.spec.space import Choice, Configuration, Numeric, Parameter, SearchSpace

NET = Parameter("policy.net_arch", Choice(("tiny", "small", "big")), "policy.net_arch")
STEPS = Parameter("n_steps", Numeric(5, 11, integer=True), "n_steps", transform="power_of_two")
GRAVITY = Parameter("task.env_kwargs.gravity", Numeric(1.0, 10.0), "task.env_kwargs.gravity")
STACK = Parameter("frame_stack", Numeric(1, 4, integer=True), "frame_stack")
LOSS = Parameter("loss", Choice(("a", "b", "c")), "loss")
SPACE = SearchSpace((RATE, NET, STEPS, GRAVITY, STACK, LOSS))
FIXED = {"task.env_kwargs.gravity", "frame_stack"}


class TestBGPBT(OptimizerConformance):
    repeats = True  # the bound may be highest in the same corner of the space twice

    @pytest.fixture
    def method(self) -> Method:
        return BG_PBT


def changes(space: SearchSpace = SPACE, **options: Any) -> dict[int, set[str]]:
    """Return what forks changed, by the environment steps that they started from."""
    done = train(BG_PBT, space=space, population=8, count=80, **options)
    configs = {p.trial: p.config.values for p in done.proposals}
    found: dict[int, set[str]] = {}
    for p in done.proposals[8:]:
        if p.resume_from != p.trial:
            assert p.resume_from is not None
            donor = configs[p.resume_from]
            found.setdefault(p.until - 100, set()).update(n for n, v in p.config.values.items() if v != donor[n])
    return found


def test_architectures_change_where_a_generation_ends() -> None:
    found = changes(generations=3)
    renewed = {"rate", "policy.net_arch", "n_steps", "loss"}
    assert found == {steps: renewed if steps in (300, 700) else {"rate"} for steps in POINTS[:-1]}
    assert set().union(*changes(generations=1).values()) == {"rate"}
    assert set().union(*changes(generations=1, mutable=("rate", "loss")).values()) == {"rate", "loss"}


def test_the_top_outlives_its_generation() -> None:
    done = train(BG_PBT, space=SPACE, population=8, quantile=0.25, count=80, generations=2)
    kept = [[p.resume_from == p.trial for p in done.proposals[n : n + 8]].count(True) for n in range(8, 80, 8)]
    assert kept == [6, 6, 6, 6, 2, 6, 6, 6, 6]


def test_the_better_architecture_spreads() -> None:
    def rise(config: Configuration, end: int) -> float:
        return decaying(config, end) + 2 * (config.values["policy.net_arch"] == "big")

    space, last = SearchSpace((RATE, NET)), []
    for seed in range(5):
        done = train(BG_PBT, rise, space, seed=seed, population=8, count=80)
        last += [p.config.values["policy.net_arch"] == "big" for p in done.proposals[-8:]]
    assert np.mean(last) > 0.8


def test_the_winner_has_found_the_schedule() -> None:
    for seed in range(5):
        done = train(BG_PBT, seed=seed, population=8, count=80)
        schedule = np.log10(done.schedule(done.winner(), "rate"))
        assert schedule[-3:].mean() < schedule[:3].mean() - 0.5


def distances(done: Trained) -> dict[int, list[float]]:
    """Return how far forks went from their donors, by the environment steps that they started from."""
    configs = {p.trial: p.config.values["other"] for p in done.proposals}
    found: dict[int, list[float]] = {}
    for p in done.proposals:
        if p.resume_from not in (None, p.trial):
            found.setdefault(p.until - 100, []).append(abs(p.config.values["other"] - configs[p.resume_from or 0]))
    return found


@pytest.mark.parametrize(("sign", "change"), [(-1, 1.5), (1, 1 / 1.5)], ids=["the young rise", "the old rise"])
def test_the_trust_region_follows_who_rises_steepest(sign: int, change: float) -> None:
    born: dict[float, int] = {}

    def rise(config: Configuration, end: int) -> float:
        return sign * (end - born.setdefault(config.values["other"], end)) / 1000

    space = SearchSpace((OTHER,))
    found = distances(train(BG_PBT, rise, space, population=40, quantile=0.5, count=160, generations=1))
    # Half of a side of 0.4; no result tells how fast the first generation rose.
    for steps, half in {100: 0.2, 200: 0.2 * change, 300: 0.2 * change**2}.items():
        assert half / 1.5 < max(found[steps]) <= half + 1e-9


def test_few_choices_differ_within_a_small_region() -> None:
    choices = [Parameter(f"c{i}", Choice(tuple(range(5))), f"c{i}") for i in range(10)]
    names = tuple(p.name for p in choices)
    space = SearchSpace((RATE, *choices))
    done = train(BG_PBT, space=space, population=8, count=16, generations=1, mutable=("rate", *names))
    configs = {p.trial: p.config.values for p in done.proposals}
    forks = [(p.config.values, configs[p.resume_from or 0]) for p in done.proposals[8:] if p.resume_from != p.trial]
    assert len(forks) == 2
    assert all(sum(fork[name] != donor[name] for name in names) <= 4 for fork, donor in forks)


def test_the_process_knows_labels_that_matter_from_those_that_do_not() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.random((60, 2)), rng.integers(0, 3, 60), rng.integers(0, 3, 60)])
    y = np.where(x[:, 2] == 1, 1.0, -0.5) + rng.normal(0, 0.1, 60)
    model = TimeVaryingGP.fit(x, y, labels=2, noisy=True)
    mean, _ = model.predict(np.array([[0.5, 0.5, 1, other] for other in range(3)] + [[0.5, 0.5, 0, 0]]))
    assert mean[:3] == pytest.approx([1.0] * 3, abs=0.2)
    assert mean[3] == pytest.approx(-0.5, abs=0.2)
    assert np.exp(model.theta[4]) == pytest.approx(0.01, abs=0.02)
