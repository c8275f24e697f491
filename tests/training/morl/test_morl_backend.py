"""The backend `morl` keeps the promises of backends, with every algorithm, and finds fronts that are known."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conformance.backends import BackendConformance, RecordingHost, learned, train, train_for
from probe_envs import Trade
from quickly import some

from autorl.training.morl import MorlBackend
from autorl.training.morl.algorithms import ALGORITHMS as BASELINES
from autorl.training.morl.episodes import known_front, make
from autorl.training.morl.model_based import ends
from autorl.training.morl.scalarized import ALGORITHMS as SCALARIZED
from autorl.training.protocol import Interrupted
from autorl.trial import Point, Recipe, RunResult, Start

TREASURE, TRADE = "deep-sea-treasure-v0", "probe_envs:autorl-tests/Trade-v0"
CAR_ENV, CAR, SHORT = "mo-mountaincarcontinuous-v0", {"ref_point": [-110, 0]}, {"env_kwargs": {"max_episode_steps": 20}}
OPTIMUM = 360.4
NET = {"net_arch": [8, 8], "learning_starts": 20, "batch_size": 16, "num_eval_weights_for_front": 3}
ITERATION = {"timesteps_per_iter": 60, "num_eval_episodes_for_front": 1, "gradient_updates": 1}
MODEL = {
    **ITERATION,
    "dynamics_net_arch": [8],
    "dynamics_train_freq": 40,
    "dynamics_rollout_starts": 40,
    "dynamics_rollout_freq": 20,
    "dynamics_rollout_batch_size": 20,
    "dynamics_buffer_size": 100,
}
POPULATION = {
    "pop_size": 3,
    "exchange_every": 50,
    "update_passes": 1,
    "num_eval_episodes_for_front": 1,
    "net_arch": [8, 8],
    "learning_starts": 20,
    "batch_size": 16,
    "buffer_size": 500,
}
MEASURE = {"ref_point": [0, -25], "eval_gamma": 0.99}


def recipe(
    algorithm: str, hyperparameters: dict[str, Any], env: str = TREASURE, steps: int = 240, **rest: Any
) -> Recipe:
    settings = {"policy": {}, "env_kwargs": {}, "evaluation_points": 3, "evaluation_episodes": 1, **rest}
    given = {**MEASURE, **hyperparameters}
    return Recipe(
        backend="morl",
        algorithm=algorithm,
        hyperparameters=given,
        env=env,
        wrappers=(),
        env_steps=steps,
        deterministic=True,
        **settings,
    )


RECIPES = {
    "pql": recipe("pql", {"action_eval": "pareto_cardinality"}),
    "mpmoqlearning": recipe("mpmoqlearning", {"timesteps_per_iteration": 50, "initial_epsilon": 1.0}),
    "pcn": recipe("pcn", {"num_points_pf": 4, "num_er_episodes": 3, "num_step_episodes": 2, "num_model_updates": 2}),
    "envelope": recipe("envelope", {**NET, "buffer_size": 500}),
    "gpi_ls": recipe("gpi_ls", {**NET, "timesteps_per_iter": 60, "num_eval_episodes_for_front": 1}, steps=120),
    "capql": recipe("capql", {**NET, **CAR}, CAR_ENV, 150, **SHORT),
    "gpi_pd": recipe("gpi_pd", {**NET, **MODEL}, steps=90),
    "gpi_pd_continuous": recipe("gpi_pd_continuous", {**NET, **MODEL, **CAR}, CAR_ENV, 90, **SHORT),
    "gpi_ls_continuous": recipe("gpi_ls_continuous", {**NET, **CAR, **ITERATION}, CAR_ENV, 90, **SHORT),
    "morld_mosac": recipe("morld_mosac", {**POPULATION, **CAR}, CAR_ENV, 150, **SHORT),
    "morld_mosac_discrete": recipe(
        "morld_mosac_discrete", {**POPULATION, "update_frequency": 2, "target_net_freq": 20}
    ),
    "morld_eupg": recipe("morld_eupg", {"pop_size": 3, "exchange_every": 50, "num_eval_episodes_for_front": 1}),
    "scalarized_ppo": recipe("scalarized_ppo", {"n_steps": 32, "n_weights": 3}, policy={"net_arch": [8]}),
    "scalarized_dqn": recipe("scalarized_dqn", {"learning_starts": 20, "n_weights": 3}, policy={"net_arch": [8]}),
}


@pytest.fixture
def backend() -> MorlBackend:
    return MorlBackend()


def front(result: RunResult) -> list[list[float]]:
    assert result.status == "completed", result.error
    return [list(values) for values in result.curve[-1].front]


class TestMorl(BackendConformance):
    @pytest.fixture(params=["pql", "pcn", "scalarized_ppo"])
    def recipe(self, request: pytest.FixtureRequest) -> Recipe:
        return RECIPES[request.param]

    @pytest.fixture
    def failing(self) -> Recipe:
        return recipe("pql", {"ref_point": [0, 0]}, TRADE, env_kwargs={"how": "raise"})


def test_every_algorithm_is_covered() -> None:
    assert {r.algorithm for r in RECIPES.values()} == {*BASELINES, *SCALARIZED}


SEEDED = sorted(set(RECIPES) - {"pql", "pcn", "scalarized_ppo"})


@pytest.mark.parametrize("name", some(SEEDED, "mpmoqlearning", "gpi_ls", "scalarized_dqn"))
def test_every_algorithm_is_seeded_and_trains_all_steps(
    backend: MorlBackend, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was drawn in the process before; and no file is left behind."""
    monkeypatch.chdir(tmp_path)
    first = train(backend, RECIPES[name], tmp_path / "a")
    np.random.seed(99)  # noqa: NPY002
    random.seed(99)
    torch.manual_seed(99)
    again = train(backend, RECIPES[name], tmp_path / "b")
    assert learned(again) == learned(first)
    assert again.env_steps == RECIPES[name].env_steps
    assert list(tmp_path.iterdir()) == []


def test_training_leaves_the_global_generators_as_they_were(backend: MorlBackend, tmp_path: Path) -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    expected = random.random(), np.random.random(), float(torch.rand(1))  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    train(backend, RECIPES["scalarized_dqn"], tmp_path / "a")
    assert (random.random(), np.random.random(), float(torch.rand(1))) == expected  # noqa: NPY002


EVALUATED = ["pql", "pcn", "gpi_ls", "gpi_pd", "mpmoqlearning", "scalarized_ppo"]


@pytest.mark.parametrize("name", some(EVALUATED, "pql", "pcn", "scalarized_ppo"))
def test_evaluations_leave_training_as_it_is(backend: MorlBackend, name: str, tmp_path: Path) -> None:
    """Six evaluations or two of three episodes: the last is of the same agent."""
    often = replace(RECIPES[name], evaluation_points=6)
    rarely = replace(RECIPES[name], evaluation_points=2, evaluation_episodes=3)
    fronts = [front(train(backend, asked, tmp_path / "a")) for asked in (often, rarely)]
    np.testing.assert_allclose(*fronts)


def test_a_run_that_paused_is_trained_anew_to_the_same_curve(backend: MorlBackend, tmp_path: Path) -> None:
    whole = train(backend, RECIPES["pql"], tmp_path / "whole")
    part = train(backend, RECIPES["pql"], tmp_path / "part", until=80)
    assert part.env_steps == 80
    assert learned(part) == learned(whole)[:1]
    assert list(tmp_path.iterdir()) == []  # there is nothing to go on from


def test_asked_to_stop_it_stops(backend: MorlBackend, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train_for(RecordingHost(tmp_path / "a", 100), backend, RECIPES["pql"])


def test_pql_finds_the_front_of_the_deep_sea(backend: MorlBackend, tmp_path: Path) -> None:
    settings = {"gamma": 0.99, "action_eval": "pareto_cardinality", "epsilon_decay_steps": 20_000}
    settings |= {"final_epsilon": 0.5}
    result = train(backend, recipe("pql", settings, steps=20_000), tmp_path / "a")
    known = known_front(make(TREASURE, {}, ()), 0.99)
    assert known is not None
    assert result.curve[-1].metrics["hypervolume"] == pytest.approx(OPTIMUM, rel=0.01)
    assert result.curve[-1].metrics["igd_plus"] < 0.1
    missed = [point for point in front(result) if np.abs(known - point).sum(axis=1).min() > 1e-5]
    assert missed == []


@pytest.mark.parametrize(("name", "points"), [("pql", 3), ("mpmoqlearning", 2), ("scalarized_dqn", 2)])
def test_a_front_with_a_hollow_is_found_as_far_as_weights_reach(
    backend: MorlBackend, name: str, points: int, tmp_path: Path
) -> None:
    """Pareto Q-learning finds the point that is best for no weights; agents of weighted sums find the other two."""
    settings: dict[str, Any] = {
        "pql": {"final_epsilon": 1.0},
        "mpmoqlearning": {"timesteps_per_iteration": 100, "initial_epsilon": 1.0, "final_epsilon": 1.0},
        "scalarized_dqn": {
            "n_weights": 2,
            "learning_starts": 20,
            "learning_rate": 0.01,
            "exploration_fraction": 1.0,
            "gradient_steps": 2,
        },
    }
    asked = recipe(name, {**settings[name], "ref_point": [-1, -1]}, TRADE, 600)
    result = train(backend, asked, tmp_path / "a")
    expected = sorted(Trade.PAYS[:points].tolist())
    assert front(result) == [pytest.approx(point) for point in expected]
    assert result.curve[-1].metrics["cardinality"] == points
    assert result.curve[-1].metrics["hypervolume"] == pytest.approx(3.16 if points == 3 else 3.0)
    assert "igd" not in result.curve[-1].metrics  # nobody knows this front


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("morld_eupg", {"exchange_every": 50, "learning_rate": 0.05, "net_arch": [16], "update_passes": 0}),
        (
            "morld_mosac_discrete",
            POPULATION
            | {"policy_lr": 0.01, "q_lr": 0.01, "update_frequency": 1, "target_net_freq": 10, "update_passes": 5},
        ),
    ],
)
def test_a_population_finds_what_is_best_for_each_of_its_weights(
    backend: MorlBackend, name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    given = {**settings, "pop_size": 2, "num_eval_episodes_for_front": 1, "ref_point": [-1, -1]}
    result = train(backend, recipe(name, given, TRADE, 200, evaluation_points=1), tmp_path / "a")
    found = front(result)
    assert all(pytest.approx(point) in found for point in ([1.0, 0.0], [0.0, 1.0]))
    assert (result.curve[-1].metrics["hypervolume"] or 0.0) > 2.99


@pytest.mark.parametrize(
    ("env", "env_kwargs"),
    [
        (TREASURE, {}),
        (TREASURE, {"float_state": True}),
        ("deep-sea-treasure-concave-v0", {}),
        ("deep-sea-treasure-mirrored-v0", {}),
        ("mo-mountaincar-v0", {}),
        (CAR_ENV, {}),
        ("minecart-v0", {}),
    ],
)
def test_imagined_episodes_end_where_real_ones_do(env: str, env_kwargs: dict[str, Any]) -> None:
    real = make(env, env_kwargs, ())
    rule = ends(real)
    real.reset(seed=0)
    real.action_space.seed(0)
    observation, ended = real.reset(seed=0)[0], 0
    for _ in range(1_000):
        action = real.action_space.sample()
        if "car-" in env or "carcontinuous" in env:  # with the velocity, else it never gets there
            action = 2 * int(observation[1] >= 0) if env != CAR_ENV else np.sign(observation[1:])
        following, reward, terminated, truncated, _ = real.step(action)
        assert rule(observation[None], np.zeros((1, 1)), following[None], np.asarray(reward)[None]).tolist() == [
            [terminated]
        ]
        ended += terminated
        observation = real.reset()[0] if terminated or truncated else following
    assert ended


@pytest.mark.slow
def test_gpi_pd_finds_ever_more_of_the_deep_sea(backend: MorlBackend, tmp_path: Path) -> None:
    settings = {
        "learning_rate": 1e-3,
        "initial_epsilon": 1.0,
        "final_epsilon": 0.1,
        "epsilon_decay_steps": 800,
        "learning_starts": 50,
        "net_arch": [64, 64],
        "gradient_updates": 2,
        "tau": 0.01,
        "timesteps_per_iter": 200,
        "num_eval_episodes_for_front": 1,
        "num_eval_weights_for_front": 10,
        "dynamics_net_arch": [64, 64],
        "dynamics_train_freq": 100,
        "dynamics_rollout_starts": 200,
        "dynamics_rollout_freq": 100,
        "dynamics_rollout_batch_size": 500,
    }
    result = train(backend, recipe("gpi_pd", settings, steps=1_200, evaluation_points=4), tmp_path / "a")
    known = known_front(make(TREASURE, {}, ()), 0.99)
    assert known is not None
    assert all(np.abs(known - point).sum(axis=1).min() < 1e-5 for point in front(result))
    course = [point.metrics["hypervolume"] or 0.0 for point in result.curve]
    assert course[-1] > course[0]
    assert course[-1] > 0.7 * OPTIMUM


def test_noise_does_not_widen_the_front(backend: MorlBackend, tmp_path: Path) -> None:
    """Of many noisy means the best are too good; over runs the hypervolume is that of what policies are worth."""
    settings = {"timesteps_per_iteration": 10, "initial_epsilon": 1.0, "final_epsilon": 1.0, "ref_point": [-1, -1]}
    asked = recipe(
        "mpmoqlearning", settings, TRADE, 400, env_kwargs={"noise": 0.5}, evaluation_points=1, evaluation_episodes=25
    )
    results = [train(backend, asked, tmp_path / str(seed), seed=seed) for seed in range(20)]
    found = [result.curve[-1].metrics["hypervolume"] for result in results]
    values = np.array([value for value in found if value is not None])
    assert len(values) == 20
    assert values.mean() < 3.16 + 3 * values.std(ddof=1) / np.sqrt(20)


def test_nan_is_a_divergence(backend: MorlBackend, tmp_path: Path) -> None:
    asked = recipe("envelope", {**NET, "ref_point": [0, 0]}, TRADE, env_kwargs={"how": "nan"})
    result = train(backend, asked, tmp_path / "a")
    assert (result.status, result.error_class) == ("failed", "diverged")


def test_training_that_ends_early_is_a_failure_that_says_so(backend: MorlBackend, tmp_path: Path) -> None:
    """Linear support by itself ends as soon as no weights are left to try."""
    settings = {**NET, "timesteps_per_iter": 20, "weight_selection_algo": "ols", "ref_point": [0, 0]}
    result = train(backend, recipe("gpi_ls", settings, TRADE, 2_000), tmp_path / "a")
    assert result.status == "failed"
    assert "ended its training after" in str(result.error)


def test_a_fork_is_refused(backend: MorlBackend, tmp_path: Path) -> None:
    forked = replace(RECIPES["pql"], start=Start(RECIPES["pql"], 80))
    result = train(backend, forked, tmp_path / "a")
    assert "forks none" in str(result.error)


def test_points_without_a_front_are_stored_as_before() -> None:
    plain = Point(10, 1.5, {"return": 2.0})
    assert plain.to_dict() == {"env_steps": 10, "wall_seconds": 1.5, "metrics": {"return": 2.0}}
    assert Point.from_dict(plain.to_dict()) == plain
    several = Point(10, 1.5, {}, front=((1.0, 2.0), (2.0, 1.0)))
    assert Point.from_dict(several.to_dict()) == several
