"""The JAX backend keeps the promises of every backend, with either engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import jax
import numpy as np
import pytest
from conformance.backends import BackendConformance, RecordingHost, learned, train, train_for
from quickly import some
from small_study import ignore, load

from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.errors import SpecError
from autorl.ledger.reader import Reader
from autorl.report.findings import gather
from autorl.spec.load import draft_study
from autorl.training.jax import JaxBackend
from autorl.training.jax.settings import DEFAULTS
from autorl.training.protocol import Interrupted, Job
from autorl.training.sb3.algorithms import own_defaults
from autorl.trial import Recipe, RunResult, Start

SMALL = {"n_envs": 2, "n_steps": 16, "batch_size": 16, "n_epochs": 2}
NET = {"net_arch": [8]}
NORMALIZED = {"n_envs": 2, "normalize": True}
OFF = {"n_envs": 2, "batch_size": 8, "learning_starts": 40, "train_freq": 2, "gradient_steps": 2, "buffer_size": 120}
RECIPES = {
    "ppo": Recipe("jax", "ppo", SMALL, NET, "CartPole-v1", {}, (), 256, 4, 3, True),
    "a2c": Recipe("jax", "a2c", NORMALIZED, NET, "Pendulum-v1", {}, (), 240, 4, 3, False),
    "dqn": Recipe("jax", "dqn", {**OFF, "target_update_interval": 20}, NET, "CartPole-v1", {}, (), 240, 4, 3, True),
    "sac": Recipe("jax", "sac", OFF, NET, "Pendulum-v1", {}, (), 240, 4, 3, False),
    "td3": Recipe("jax", "td3", {**OFF, "noise_type": "normal"}, NET, "Pendulum-v1", {}, (), 240, 4, 3, True),
}
RECIPES |= {f"{name}, host": replace(recipe, engine="host") for name, recipe in RECIPES.items()}
RECIPES["lander"] = replace(RECIPES["ppo"], env="LunarLander-v3", hyperparameters={**SMALL, "normalize": True})
if find_spec("envpool") is not None:
    RECIPES |= {f"{name}, envpool": replace(RECIPES[name], engine="envpool") for name in ("ppo", "lander")}
    RECIPES["sac, envpool"] = replace(RECIPES["sac"], env="MountainCarContinuous-v0", engine="envpool")
BROKEN = replace(RECIPES["ppo"], env="probe_envs:autorl-tests/Broken-v0", env_kwargs={"how": "raise"})


@pytest.fixture
def backend() -> JaxBackend:
    return JaxBackend()


class TestJax(BackendConformance):
    @pytest.fixture(params=some(RECIPES, "ppo", "dqn", "ppo, host"))
    def recipe(self, request: pytest.FixtureRequest) -> Recipe:
        return RECIPES[request.param]

    @pytest.fixture
    def failing(self) -> Recipe:
        return BROKEN


def together(backend: JaxBackend, recipes: list[Recipe], folder: Path) -> list[RunResult]:
    """Train recipes in one call, on seeds of their own."""
    jobs = [Job(recipe, seed, recipe.env_steps, None, 1e9) for seed, recipe in enumerate(recipes)]
    return backend.train(jobs, [RecordingHost(folder / str(seed)) for seed in range(len(recipes))])


@pytest.mark.parametrize("name", some(["ppo", "a2c, host", "dqn", "lander"], "ppo"))
def test_what_becomes_of_a_run_does_not_depend_on_those_beside_it(
    name: str, backend: JaxBackend, tmp_path: Path
) -> None:
    rates = (1e-3, 3e-3, 1e-2)
    recipes = [
        replace(RECIPES[name], hyperparameters=RECIPES[name].hyperparameters | {"learning_rate": r}) for r in rates
    ]
    assert len({backend.group(recipe) for recipe in recipes}) == 1
    assert len({backend.group(replace(recipe, env_steps=480)) for recipe in recipes} | {backend.group(recipes[0])}) == 2
    results = together(backend, recipes, tmp_path)
    for seed, recipe in enumerate(recipes):
        assert learned(results[seed]) == learned(train(backend, recipe, tmp_path / "alone" / str(seed), seed=seed))


@pytest.mark.parametrize("name", ["ppo", "ppo, host", "a2c, host"])
def test_a_run_that_diverges_disturbs_no_other(name: str, backend: JaxBackend, tmp_path: Path) -> None:
    wild = replace(RECIPES[name], hyperparameters=RECIPES[name].hyperparameters | {"learning_rate": 1e30})
    calm, diverged = together(backend, [RECIPES[name], wild], tmp_path)
    assert (diverged.status, diverged.error_class) == ("failed", "diverged")
    assert learned(calm) == learned(train(backend, RECIPES[name], tmp_path / "alone", seed=0))


def test_an_environment_that_raises_ends_its_run_alone(backend: JaxBackend, tmp_path: Path) -> None:
    one_by_one = replace(BROKEN, env_kwargs={"how": "raise"})
    (broken,) = together(backend, [one_by_one], tmp_path)
    assert broken.error_class == "exception"
    assert "Traceback" in (broken.error or "")


class Fragile(gym.Env[np.ndarray, int]):
    """Episodes of fifty steps, the next of which may break it."""

    observation_space, action_space = gym.spaces.Box(0.0, 1.0, (2,)), gym.spaces.Discrete(2)
    breaks = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._left = 50
        return self.np_random.random(2, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if Fragile.breaks:
            Fragile.breaks = False
            raise RuntimeError("it broke")
        self._left -= 1
        return self.np_random.random(2, dtype=np.float32), float(action), self._left == 0, False, {}


gym.register("autorl-tests/Fragile-v0", Fragile)


def test_an_environment_that_raises_when_it_goes_on_ends_its_run_alone(
    backend: JaxBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPES["ppo, host"], env="autorl-tests/Fragile-v0")

    def parts(until: int, *, begun: bool) -> list[RunResult]:
        files = [tmp_path / str(seed) for seed in (0, 1)]
        jobs = [Job(recipe, seed, until, file if begun else None, 1e9) for seed, file in enumerate(files)]
        return backend.train(jobs, [RecordingHost(file) for file in files])

    parts(100, begun=False)
    monkeypatch.setattr(Fragile, "breaks", True)
    broken, other = parts(recipe.env_steps, begun=True)
    assert (broken.error_class, "it broke" in (broken.error or "")) == ("exception", True)
    assert learned(other) == learned(train(backend, recipe, tmp_path / "whole", seed=1))


class Restless(gym.Env[np.ndarray, np.ndarray]):
    """Always looks the same but at its 64th step, from which episodes cannot be played again."""

    observation_space, action_space = gym.spaces.Box(0.0, 1.0, (2,)), gym.spaces.Box(-1.0, 1.0, (1,))
    then = 0.0

    def __init__(self) -> None:
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._begun = self._steps
        return np.full(2, 0.5, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        seen = np.full(2, Restless.then if self._steps == 64 else 0.5, np.float32)
        return seen, float(action[0]), self._steps - self._begun == 25, False, {}


gym.register("autorl-tests/Restless-v0", Restless)


@pytest.mark.parametrize("name", ["ppo, host", "sac, host"])
def test_a_run_that_begins_episodes_anew_acts_on_what_it_sees_then(
    name: str, backend: JaxBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without discount the last observation before a part ends is nowhere learned from.
    numbers = RECIPES[name].hyperparameters | {"gamma": 0.0}
    recipe = replace(RECIPES[name], env="autorl-tests/Restless-v0", hyperparameters=numbers, env_steps=256)
    found = []
    for then in (0.0, 1.0):
        monkeypatch.setattr(Restless, "then", then)
        train(backend, recipe, tmp_path / str(then), until=128)
        found.append(train(backend, recipe, tmp_path / str(then)))
        assert any("fresh episode" in note for note in found[-1].notes)
    assert learned(found[0]) == learned(found[1])


def test_runs_that_are_not_equally_far_are_trained_apart(backend: JaxBackend, tmp_path: Path) -> None:
    recipe = RECIPES["ppo"]
    whole = [learned(train(backend, recipe, tmp_path / f"whole-{seed}", seed=seed)) for seed in (0, 1)]
    train(backend, recipe, tmp_path / "part", seed=0, until=recipe.env_steps // 3)
    jobs = [
        Job(recipe, 0, recipe.env_steps, tmp_path / "part", 1e9),
        Job(recipe, 1, recipe.env_steps, None, 1e9),
    ]
    results = backend.train(jobs, [RecordingHost(tmp_path / "a"), RecordingHost(tmp_path / "b")])
    assert [learned(result) for result in results] == whole


def test_a_fork_goes_on_with_other_numbers(backend: JaxBackend, tmp_path: Path) -> None:
    donor = RECIPES["ppo"]
    train(backend, donor, tmp_path / "fork", until=128)
    start = Start(donor, 128)
    fork = replace(donor, hyperparameters=donor.hyperparameters | {"learning_rate": 0.03}, start=start)
    forked = learned(train(backend, fork, tmp_path / "fork"))
    assert forked == learned(train(backend, fork, tmp_path / "anew"))
    assert forked != learned(train(backend, donor, tmp_path / "donor"))
    assert forked[:2] == learned(train(backend, donor, tmp_path / "donor"))[:2]


def test_a_schedule_of_forks_can_be_trained_as_one_run_and_interrupted(backend: JaxBackend, tmp_path: Path) -> None:
    first = RECIPES["ppo"]
    second = replace(first, hyperparameters=first.hyperparameters | {"learning_rate": 0.03}, start=Start(first, 64))
    third = replace(second, hyperparameters=first.hyperparameters | {"gamma": 0.9}, start=Start(second, 128))
    for recipe, until in ((first, 64), (second, 128)):
        train(backend, recipe, tmp_path / "chain", until=until)
    chain = train(backend, third, tmp_path / "chain")
    whole = train(backend, third, tmp_path / "whole")
    assert learned(whole) == learned(chain)
    assert whole.wall_seconds >= whole.curve[-1].wall_seconds
    assert chain.wall_seconds < chain.curve[-1].wall_seconds  # which tells of the donors' time too
    for stop_after in (20, 100, 180):
        path = tmp_path / f"parts-{stop_after}"
        with pytest.raises(Interrupted):
            train_for(RecordingHost(path, stop_after), backend, third)
        assert learned(train(backend, third, path)) == learned(whole)


@pytest.mark.parametrize(("before", "after"), [(0.0, "auto"), pytest.param("auto", 0.1, marks=pytest.mark.slow)])
def test_a_fork_may_learn_what_was_constant(
    before: float | str, after: float | str, backend: JaxBackend, tmp_path: Path
) -> None:
    donor = replace(RECIPES["sac"], hyperparameters={**OFF, "ent_coef": before})
    train(backend, donor, tmp_path / "fork", until=128)
    fork = replace(donor, hyperparameters={**OFF, "ent_coef": after}, start=Start(donor, 128))
    learned(train(backend, fork, tmp_path / "fork"))


def test_what_is_trained_one_by_one_is_asked_for_one_by_one(backend: JaxBackend) -> None:
    assert [backend.together(RECIPES[name]) for name in ("ppo", "a2c", "dqn", "sac", "td3")] == [8, 8, 8, 1, 1]


@pytest.mark.parametrize("name", ["ppo", "ppo, host"])
def test_a_program_has_the_lanes_that_are_asked_for(name: str, tmp_path: Path) -> None:
    backend, runs = JaxBackend(lanes=40), 33
    assert (backend.lanes, backend.together(RECIPES[name])) == (40, 40)
    rates = np.geomspace(1e-4, 1e-2, runs)
    recipes = [
        replace(RECIPES[name], hyperparameters=RECIPES[name].hyperparameters | {"learning_rate": float(rate)})
        for rate in rates
    ]
    curves = [learned(result) for result in together(backend, recipes, tmp_path)]
    assert len({str(curve) for curve in curves}) > runs / 2
    assert curves[7] == learned(train(backend, recipes[7], tmp_path / "alone", seed=7))


def test_memory_that_runs_out_is_told_from_other_errors(
    backend: JaxBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "RESOURCE_EXHAUSTED: Out of memory allocating 137438953472 bytes."

    def advance(*_: Any) -> None:
        raise jax.errors.JaxRuntimeError(said)

    monkeypatch.setattr("autorl.training.jax.compiled.Compiled.advance", advance)
    (result,) = backend.train([Job(RECIPES["ppo"], 0, 256, None, 60.0)], [RecordingHost(tmp_path / "state")])
    assert (result.status, result.error_class) == ("failed", "out_of_memory")


def test_a_fork_into_another_shape_says_that_it_cannot(backend: JaxBackend, tmp_path: Path) -> None:
    donor = RECIPES["ppo"]
    train(backend, donor, tmp_path / "fork", until=128)
    fork = replace(donor, policy={"net_arch": [16]}, start=Start(donor, 128))
    result = train(backend, fork, tmp_path / "fork")
    assert result.status == "failed"
    assert "only other numbers" in (result.error or "")


SECTIONS = """
study: wrong
task: {env: CartPole-v1}
algorithm: {backend: jax, name: ppo}
search_space: {parameters: {learning_rate: {min: 1e-4, max: 1e-2, log: true}}}
seeds: {tuning: 0:2, test: 10:12}
budget: {trials: 2, steps_per_run: 128}
"""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("algorithm.engine=fast", "unknown engine 'fast'"),
        ("algorithm={backend: jax, engine: compiled, name: ppo} task.env=LunarLander-v3", "does not have LunarLander"),
        ("algorithm={backend: jax, engine: envpool, name: ppo} task.env=Pendulum-v1", "does not have Pendulum-v1"),
        ("algorithm.engine=compiled task.env_kwargs={sutton_barto_reward: true}", "with arguments or wrappers"),
        ("algorithm.name=tqc", "unknown algorithm 'tqc'"),
        ("algorithm.name=sac", "sac needs continuous actions"),
        ("algorithm.name=dqn evaluation.deterministic=false", "evaluates the greedy policy of DQN"),
        ("algorithm.fixed={use_sde: true}", "no hyperparameter 'use_sde'"),
        ("algorithm={backend: sb3, engine: host, name: ppo}", "this backend has one"),
    ],
)
def test_mistakes_are_told_before_anything_trains(override: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(SECTIONS)
    with pytest.raises(SpecError, match=message):
        check(draft_study(file, re.split(r" (?=task|evaluation)", override)))


@pytest.mark.parametrize(
    ("optimizer", "searched", "shape"),
    [
        ("{name: bg_pbt}", "policy.net_arch: {values: [tiny, small]}", "policy.net_arch"),
        ("{name: bg_pbt}", "policy.activation_fn: {values: [tanh, relu]}", "policy.activation_fn"),
        ("{name: bg_pbt}", "n_steps: {min: 5, max: 8, transform: power_of_two}", "n_steps"),
        ("{name: pbt, mutable: [learning_rate, n_envs]}", "n_envs: {min: 1, max: 8}", "n_envs"),
        ("{name: pbt}", "policy.net_arch: {values: [tiny, small]}", ""),
        ("{name: bg_pbt}", "gamma: {min: 0.9, max: 0.99}", ""),
    ],
)
def test_a_population_that_would_change_shapes_is_refused(
    optimizer: str, searched: str, shape: str, tmp_path: Path
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(SECTIONS.replace("log: true}}}", f"log: true}}, {searched}}}}}"))
    draft = draft_study(file, [f"optimizer={optimizer}", "evaluation.points=10"])
    if not shape:
        check(draft)
        return
    with pytest.raises(
        SpecError, match=f"optimizer.name: .* cannot go on with another {shape}, only with other numbers"
    ):
        check(draft)


def test_defaults_are_sb3s() -> None:
    ours = {name: dict(DEFAULTS[name]) for name in DEFAULTS}
    for name, defaults in ours.items():
        theirs = own_defaults(name)
        assert {key: theirs[key] for key in defaults} == defaults


def test_a_population_forks_within_its_program(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        "algorithm={backend: jax, name: ppo, fixed: {n_steps: 16, n_envs: 2, batch_size: 32}}",
        "task.env=CartPole-v1",
        "search_space.parameters={learning_rate: {min: 1e-4, max: 1e-1, log: true}, gamma: {min: 0.9, max: 0.99}}",
        "optimizer={name: pbt, seed: 3, population: 4, interval: 0.3, quantile: 0.5}",
        "evaluation.points=4",
        "budget={trials: 6, steps_per_run: 128}",
        "seeds={tuning: 0:1, test: 20:22}",
    )
    conduct(spec, ignore)
    with Reader(spec.storage) as reader:
        found = gather(reader, "small")
    assert found.study.state == "finished"
    assert not found.failed
    forks = [trial for trial in found.trials if trial.recipe.start is not None]
    assert forks
    for trial in forks:
        assert trial.recipe.start is not None
        (run,) = (run for run in found.runs[trial.number] if run.phase == "tuning")
        assert run.env_steps > trial.recipe.start.env_steps
    assert found.winner is not None
    assert len(found.scores(found.winner.number, "test")) == 2


@pytest.mark.slow
def test_without_a_place_for_what_is_compiled_it_trains_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    script = (
        "from pathlib import Path; from conformance.backends import train; from autorl.training.jax import JaxBackend; "
        "from autorl.trial import Recipe; "
        "recipe = Recipe('jax', 'ppo', {'n_steps': 16}, {'net_arch': [8]}, 'CartPole-v1', {}, (), 32, 1, 1, True); "
        f"print(train(JaxBackend(), recipe, Path({str(tmp_path / 'run')!r})).status)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file"), "PYTHONPATH": str(Path(__file__).parents[2])}
    environment["MPLCONFIGDIR"] = str(tmp_path)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["completed"]
    assert "compilation cache" not in done.stderr
