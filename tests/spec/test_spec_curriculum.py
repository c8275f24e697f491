"""What is wrong with a study's curriculum is said before anything trains, with its place and what to do."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from small_study import load

from autorl.engine.plan import default_configuration
from autorl.errors import SpecError
from autorl.ledger.continuation import spec_hash
from autorl.spec.curriculum import KINDS
from autorl.training.sb3 import Sb3Backend
from autorl.trial import Point, Recipe, bind

VARIES = (
    "task={env: CartPole-v1, parameters: {gravity: {min: 5.0, max: 15.0, through: attribute}}, target: {gravity: 9.8}}"
)
PLAYED = (
    "task={env: CartPole-v1, parameters: {start: {min: 0.0, max: 1.0, trajectories: way.npz, through: trajectory}}}"
)
SEARCHED = (
    "search_space.parameters={curriculum.kind: {values: [none, adr, plr]}, learning_rate: {min: 1e-4, max: 1e-2}, "
    "step: {min: 0.02, max: 0.2, sets: curriculum.step, when: {curriculum.kind: adr}}}"
)
PHYSICS = ("gravity", "masscart", "masspole", "length", "force_mag")


@pytest.mark.parametrize(
    ("overrides", "key", "message"),
    [
        (
            (VARIES, "curriculum.kind=unifrom"),
            "curriculum.kind",
            "unknown curriculum 'unifrom'; did you mean 'uniform'?",
        ),
        (
            (VARIES, "curriculum={kind: adr, stepp: 0.1}"),
            "curriculum.stepp",
            "no parameter 'stepp'; did you mean 'step'?",
        ),
        ((VARIES, "curriculum={kind: adr, bins: 4}"), "curriculum.bins", "learning_progress and bandit have it"),
        ((VARIES, "curriculum.kind=guidance"), "curriculum.kind", "needs prompts and their solutions; use backend llm"),
        (
            (VARIES, "curriculum.kind=snapshots"),
            "curriculum.kind",
            "needs a parameter of the task that goes 'through: tra",
        ),
        (
            (PLAYED.replace("trajectories: way.npz, ", ""),),
            "task.parameters.start.trajectories",
            "missing: name the file",
        ),
        ((PLAYED.replace("0.0", "0").replace("1.0", "1"),), "task.parameters.start.min", "written with a point"),
        (
            (PLAYED.replace("through: trajectory", "through: attribute"), "task.target.start=0.5"),
            "task.parameters.start.trajectories",
            "goes with 'through: trajectory'",
        ),
        (
            (PLAYED.replace("}}", "}, end: {min: 0.0, max: 1.0, trajectories: b.npz, through: trajectory}}"),),
            "task.parameters",
            "start and end both say where an episode begins",
        ),
        (
            (PLAYED, "curriculum.kind=snapshots"),
            "task.parameters",
            "way.npz' holds no trajectories",
        ),
        (
            (PLAYED, "task.success_return=475"),
            "task.success_return",
            "an episode that begins midway (start) returns only what is left of it",
        ),
        ((VARIES, "curriculum={kind: adr, step: 2}"), "curriculum.step", "2: must be at most 1"),
        ((VARIES, "curriculum={kind: bandit, bins: x}"), "curriculum.bins", "'x': must be a whole number"),
        (
            (VARIES, "curriculum.kind=again"),
            "curriculum.kind",
            "again needs an earlier study of the same database; name it in curriculum.learned_from",
        ),
        (
            (VARIES, "curriculum={kind: again, learned_from: null}"),
            "curriculum.kind",
            "again needs an earlier study",
        ),
        (
            (VARIES, "search_space.parameters={curriculum.kind: {values: [none, again]}}"),
            "search_space.parameters.curriculum.kind",
            "name it in curriculum.learned_from",
        ),
        (
            (
                VARIES,
                "curriculum={kind: again, learned_from: one}",
                "search_space.parameters={curriculum.learned_from: {values: [one, two]}}",
            ),
            "search_space.parameters.curriculum.learned_from",
            "curriculum.learned_from is the same for all trials",
        ),
        (
            (VARIES, "curriculum={kind: alp_gmm, learned_from: one}"),
            "curriculum.learned_from",
            "curriculum alp_gmm has no parameter 'learned_from'; again has it",
        ),
        (
            (VARIES, "curriculum={kind: again, niches: {length: [[1.0, 0.0]]}}"),
            "curriculum.niches",
            "these are of length; what varies is gravity",
        ),
        (
            (VARIES, "curriculum={kind: again, niches: {gravity: [[1.0, 0.0], [1.0]]}}"),
            "curriculum.niches",
            "gravity: must be a list of phases, each with as many weights of at least 0",
        ),
        (
            ("curriculum.kind=uniform",),
            "curriculum",
            "nothing varies: name what of the task may vary in task.parameters",
        ),
        ((SEARCHED,), "search_space.parameters.step", "nothing varies"),
        (
            (VARIES, "search_space.parameters={curriculum.kind: {values: [none, teacher]}}"),
            "search_space.parameters.curriculum.kind",
            "unknown curriculum 'teacher'",
        ),
        (
            (VARIES, SEARCHED.replace("max: 0.2", "max: 3.0")),
            "search_space.parameters.step",
            "3.0: must be at most 1",
        ),
        (
            (
                VARIES,
                SEARCHED.replace("curriculum.step", "curriculum.buffer").replace(
                    "when: {curriculum.kind: adr}", "when: {curriculum.kind: none}"
                ),
            ),
            "search_space.parameters.step",
            "curriculum none has no parameter 'buffer'; adr and plr and failures have it",
        ),
        ((VARIES, "task.target={gravitee: 9.8}"), "task.target", "no parameter 'gravitee'; did you mean 'gravity'?"),
        (
            (VARIES, "task.target={gravity: low}"),
            "task.target",
            "gravity: 'low': must be a number, {min, max} or {values}",
        ),
        (
            (VARIES, "task.parameters.gravity={min: 5, max: 15, through: attribute}"),
            "task.target",
            "gravity: 9.8: must be a whole number, as the ends of the range are",
        ),
        (
            (VARIES, "search_space.parameters={task.env_kwargs.gravity: {min: 5.0, max: 9.0}}"),
            "search_space.parameters.task.env_kwargs.gravity",
            "gravity varies in training and has a target (task.parameters); a trial cannot set it as well",
        ),
        ((VARIES, "task.target={}"), "task.target", "gravity is missing: say what evaluation uses, or a range"),
        ((VARIES, "task.parameters.gravity.min=20.0"), "task.parameters.gravity.min", "min 20.0 is not below max 15.0"),
        ((VARIES, "task.parameters.gravity.easy=1"), "task.parameters.gravity.easy", "1 is not in the range"),
        (
            (VARIES, "task.parameters.gravity.through=wrapper"),
            "task.parameters.gravity.through",
            "'wrapper' is not allowed; allowed: attribute, env_kwargs, set_task",
        ),
        (
            (VARIES.replace("gravity", "gravitas"),),
            "task.parameters",
            "'CartPole-v1' cannot become {'gravitas': 5.0}: ValueError: CartPoleEnv has no attribute 'gravitas'",
        ),
        (
            (VARIES.replace("attribute", "set_task"),),
            "task.parameters",
            "CartPoleEnv has no method set_task; say 'through: env_kwargs' or 'through: attribute'",
        ),
        (
            (
                "task={env: 'autorl.training.curriculum.frozen_lake:autorl/FrozenLakeStart-v0', env_kwargs: {size: 8}, "
                "parameters: {size: {min: 4, max: 8, through: env_kwargs}}}",
            ),
            "task.parameters",
            "changes the observations or actions, but a policy has one shape of each",
        ),
        (
            (
                VARIES,
                "curriculum={kind: bandit, bins: 1000}",
                "task.parameters.length={min: 0.3, max: 1.0, through: attribute}",
                "task.target.length=0.5",
            ),
            "curriculum.bins",
            "at most 100",
        ),
        (
            (
                "task.parameters={"
                + ", ".join(f"{name}: {{min: 0.5, max: 20.0, through: attribute}}" for name in PHYSICS)
                + "}",
                f"task.target={{{', '.join(f'{name}: 1.0' for name in PHYSICS)}}}",
                "curriculum.kind=learning_progress",
            ),
            "curriculum.kind",
            "10 bins of 5 parameters are more than 10,000 cells; set curriculum.bins to at most 6",
        ),
        (
            (
                "task.env=LunarLander-v3",
                "task.parameters={gravity: {values: [-10.0, -20.0, -5.0], through: env_kwargs}}",
                "task.target={gravity: -5.0}",
            ),
            "task.parameters",
            "cannot become {'gravity': -20.0}",
        ),
        (
            (VARIES, "algorithm={backend: jax, engine: compiled, name: ppo}"),
            "algorithm.engine",
            "engine compiled has no curricula, since its environments cannot be told their task; use engine host",
        ),
        (
            (SEARCHED, VARIES, "algorithm={backend: landscape, name: ppo}"),
            "search_space.parameters.step",
            "backend 'landscape' has no curricula",
        ),
        (
            ("algorithm={backend: llm, name: grpo, engine: trl}", "curriculum.kind=bandit"),
            "curriculum",
            "engine trl has no curricula; leave this out, or use engine small",
        ),
    ],
)
def test_a_mistake_is_named(overrides: tuple[str, ...], key: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load(tmp_path, *overrides)
    found = [problem for problem in caught.value.problems if problem.key == key]
    assert any(re.search(re.escape(message), problem.message) for problem in found), caught.value.problems


def test_a_kind_is_searched_with_parameters_of_its_own(tmp_path: Path) -> None:
    spec = load(tmp_path, VARIES, SEARCHED, "curriculum={kind: adr, high: 0.9, temperature: 0.3}")
    config = default_configuration(spec, Sb3Backend())
    assert config.values["curriculum.kind"] == "adr"
    assert config.values["step"] == 0.05  # the kind's own default
    recipe = bind(spec, spec.space, {"curriculum.kind": "adr", "step": 0.1})
    assert recipe.curriculum == {"kind": "adr", "boundary": 0.5, "buffer": 10, "low": 0.2, "high": 0.9, "step": 0.1}
    assert bind(spec, spec.space, {"curriculum.kind": "none"}).curriculum == {"kind": "none"}
    assert bind(spec, spec.space, {"curriculum.kind": "plr"}).curriculum == {
        "kind": "plr",
        "buffer": 100,
        "replay": 0.5,
        "temperature": 0.3,
        "staleness": 0.1,
    }
    assert recipe.task_space == {
        "parameters": {"gravity": {"min": 5.0, "max": 15.0, "through": "attribute"}},
        "target": {"gravity": 9.8},
        "success_return": None,
    }


def test_the_target_is_that_of_env_kwargs_unless_it_is_given(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        "task={env: Pendulum-v1, env_kwargs: {g: 9.0}, parameters: {g: {min: 1.0, max: 8.0, through: env_kwargs}}}",
        "algorithm={name: sac}",
        "search_space.parameters={gamma: {min: 0.9, max: 0.99}}",
    )
    assert spec.task.space() is not None
    assert spec.task.space()["target"] == {"g": 9.0}  # type: ignore[index]


@pytest.mark.parametrize(
    "said", ["env_kwargs: {map_name: null}", "env_kwargs: {map_name: 8x8}, target: {map_name: null}"]
)
def test_null_is_a_target_too(said: str, tmp_path: Path) -> None:
    varies = "parameters: {map_name: {values: [8x8, null], through: env_kwargs}}"  # null is a random map of that size
    spec = load(tmp_path, f"task={{env: FrozenLake-v1, {varies}, {said}}}")
    assert spec.task.space()["target"] == {"map_name": None}  # type: ignore[index]


def test_the_file_of_trajectories_is_a_part_of_the_study(tmp_path: Path) -> None:
    env = gym.make("CartPole-v1")
    seen = [env.reset(seed=3)[0], env.step(0)[0]]
    played = {"seeds": np.array([3]), "lengths": np.array([2]), "actions": np.array([0, 1])}
    np.savez(tmp_path / "way.npz", **played, observations=np.array(seen))
    before = load(tmp_path, PLAYED, "curriculum.kind=snapshots")
    entry = before.task.parameters["start"]
    assert entry.sha256 == hashlib.sha256((tmp_path / "way.npz").read_bytes()).hexdigest()
    np.savez(tmp_path / "way.npz", **{**played, "actions": np.array([0, 0])}, observations=np.array(seen))
    after = load(tmp_path, PLAYED, "curriculum.kind=snapshots")
    assert spec_hash(after) != spec_hash(before)
    with pytest.raises(SpecError, match=r"its SHA-256 is \w+, that of the study's file that of another"):
        load(tmp_path, PLAYED, "task.parameters.start.sha256=that of another")


def test_what_was_stored_before_curricula_stays_as_it_was(tmp_path: Path) -> None:
    spec = load(tmp_path)
    recipe = bind(spec, spec.space, {})
    assert not {"task_space", "curriculum"} & recipe.to_dict().keys()
    assert Recipe.from_dict(recipe.to_dict()).fingerprint(3) == recipe.fingerprint(3)
    assert Point(1, 2.0, {"return": 3.0}).to_dict() == {"env_steps": 1, "wall_seconds": 2.0, "metrics": {"return": 3.0}}


def test_every_kind_has_defaults_that_its_own_rules_allow() -> None:
    for kind in KINDS.values():
        kind.model_validate(kind().model_dump())
