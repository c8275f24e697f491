"""The sb3 backend trains what the teacher says, evaluates the target, and goes on with a teacher as without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conformance.backends import BackendConformance, learned, train
from quickly import some
from stable_baselines3.common.monitor import Monitor

from autorl.spec.curriculum import KINDS, OF_LANGUAGE, resolved
from autorl.training.curriculum.kinds import make_lessons
from autorl.training.curriculum.lessons import OnTarget, TaskEnv, Taught
from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.trajectories import Trajectories
from autorl.training.sb3 import Sb3Backend
from autorl.trial import Recipe, RunResult, Start

LAKE = "autorl.training.curriculum.frozen_lake:autorl/FrozenLakeStart-v0"
DISTANCE = {"parameters": {"distance": {"min": 1, "max": 8, "through": "set_task"}}, "target": {"distance": 8}}
GRAVITY = {"parameters": {"gravity": {"min": 5.0, "max": 15.0, "through": "attribute"}}, "target": {"gravity": 9.8}}
PENDULUM = {
    "parameters": {"g": {"min": 2.0, "max": 12.0, "through": "env_kwargs"}},
    "target": {"g": {"min": 9.0, "max": 11.0}},
}


def recipe(
    algorithm: str, env: str, hyperparameters: dict[str, Any], space: dict[str, Any], *, steps: int = 384, **kind: Any
) -> Recipe:
    return Recipe(
        "sb3",
        algorithm,
        hyperparameters,
        {"net_arch": [16]},
        env,
        {"size": 5} if env == LAKE else {},
        (),
        steps,
        4,
        2,
        True,
        task_space={"success_return": None, **space},
        curriculum=resolved(kind),
    )


PPO = {"n_steps": 32, "n_envs": 2, "batch_size": 32, "n_epochs": 2}
# Small enough that the teachers learn within the run.
EAGER: dict[str, dict[str, Any]] = {
    "alp_gmm": {"fit_every": 10, "window": 20, "exploration": 0.1},
    "again": {
        "fit_every": 10,
        "window": 20,
        "niches": {"distance": [[1.0] + [0.0] * 7, [0.0] * 4 + [0.5] + [0.1] * 3]},
    },
    "riac": {"region": 8, "window": 8},
    "adr": {"buffer": 2, "boundary": 0.9},
    "plr": {"buffer": 5},
    "stages": {"window": 2, "threshold": 0.5},
    "self_paced": {"window": 3, "threshold": 0.3},
}


def lake(kind: str, **rest: Any) -> Recipe:
    return recipe("ppo", LAKE, PPO, DISTANCE, kind=kind, **EAGER.get(kind, {}), **rest)


def recorded(result: RunResult) -> list[Any]:
    return [(*point, taught.curriculum) for point, taught in zip(learned(result), result.curve, strict=True)]


@pytest.mark.filterwarnings("ignore")
class TestSb3WithTeacher(BackendConformance):
    @pytest.fixture
    def backend(self) -> Sb3Backend:
        return Sb3Backend()

    @pytest.fixture
    def recipe(self) -> Recipe:
        return recipe("ppo", "CartPole-v1", PPO, {**GRAVITY, "success_return": 15.0}, kind="adr", buffer=2)

    @pytest.fixture
    def failing(self) -> Recipe:
        return recipe("ppo", "CartPole-v1", PPO, GRAVITY, kind="adr", boundary=1.0)  # nobody says what a success is


# Snapshots need trajectories.
OF_ENVIRONMENTS = [kind for kind in KINDS if kind not in (*OF_LANGUAGE, "snapshots")]


def shortest_way(folder: Path, size: int) -> dict[str, Any]:
    """Write the trajectory of a shortest way from a lake's start to its goal, and return its parameter of the task."""
    env = gym.make(LAKE, size=size)
    lake: Any = env.unwrapped
    ways: dict[int, list[int]] = {0: []}
    for field in (front := [0]):
        for action, ((_, after, _, over),) in lake.P[field].items():
            if after not in ways and (not over or lake.P[field][action][0][2]):
                ways[after] = [*ways[field], action]
                front.append(after)
    (way,) = (ways[field] for field in ways if lake.desc.ravel()[field] == b"G")
    seen = [env.reset(seed=5)[0], *(env.step(action)[0] for action in way)][:-1]
    file = folder / "way.npz"
    np.savez(
        file, seeds=np.array([5]), lengths=np.array([len(way)]), actions=np.array(way), observations=np.array(seen)
    )
    return {"min": 0.0, "max": 1.0, "through": "trajectory", "trajectories": str(file)}


@pytest.mark.parametrize("kind", some(OF_ENVIRONMENTS, "learning_progress", "alp_gmm", "plr", "adr"))
def test_a_run_with_a_teacher_goes_on_as_if_it_had_never_stopped(kind: str, tmp_path: Path) -> None:
    whole = train(Sb3Backend(), lake(kind), tmp_path / "whole")
    for until in (100, 250):
        train(Sb3Backend(), lake(kind), tmp_path / "parts", until=until)
    rest = train(Sb3Backend(), lake(kind), tmp_path / "parts")
    assert recorded(rest) == recorded(whole)
    assert rest.notes == whole.notes == ()


@pytest.mark.parametrize("kind", ["snapshots", "learning_progress"])
def test_a_run_that_begins_in_trajectories_goes_on_too(kind: str, tmp_path: Path) -> None:
    space = {"parameters": {"start": shortest_way(tmp_path, 5)}, "target": {"start": 1.0}}
    asked = recipe("ppo", LAKE, PPO, space, kind=kind)
    whole = train(Sb3Backend(), asked, tmp_path / "whole")
    train(Sb3Backend(), asked, tmp_path / "parts", until=160)
    rest = train(Sb3Backend(), asked, tmp_path / "parts")
    assert recorded(rest) == recorded(whole)
    assert rest.notes == ()
    taught = whole.curve[0].curriculum
    assert taught is not None
    assert sum(taught["start"]["env_steps"][:5]) > 0  # near the goal, which is where nobody comes by chance


def test_an_episode_begins_in_a_state_of_the_trajectory(tmp_path: Path) -> None:
    space = TaskSpace({"start": shortest_way(tmp_path, 8)}, {"start": 1.0})
    played = np.load(tmp_path / "way.npz")
    steps = int(played["lengths"][0])
    env = TaskEnv(LAKE, {"size": 8}, (), space)
    own, _ = env.reset(seed=1, options={"task": {"start": 1.0}})
    assert np.array_equal(own, played["observations"][0])
    seen, _ = env.reset(options={"task": {"start": 0.0}})
    assert np.array_equal(seen, played["observations"][-1])  # one move from the goal
    _, reward, terminated, _, _ = env.step(int(played["actions"][-1]))
    assert (reward, terminated) == (1.0, True)
    left = 1 + (steps - 1) // 2
    seen, _ = env.reset(options={"task": {"start": 0.5}})
    assert np.array_equal(seen, played["observations"][steps - left])
    # What is random afterwards is the environment's own, not once more the teacher's.
    first = [env.reset(seed=7, options={"task": {"start": 0.5}}), env.unwrapped.np_random.random()][1]
    env.reset(options={"task": {"start": 0.5}})
    assert env.unwrapped.np_random.random() != first
    other = TaskEnv(LAKE, {"size": 8, "map_seed": 4}, (), space)
    with pytest.raises(ValueError, match=r"way.npz': played again, episode 0 ends before step"):
        other.reset(options={"task": {"start": 0.0}})
    played = dict(played)
    played["observations"][-1] += 1.0
    np.savez(tmp_path / "way.npz", **played)
    changed = TaskSpace({"start": {**space.parameters["start"], "sha256": "of another"}}, {"start": 1.0})
    with pytest.raises(ValueError, match=r"its SHA-256 is \w+, that of the study's file of another"):
        TaskEnv(LAKE, {"size": 8}, (), changed)
    with pytest.raises(ValueError, match=rf"episode 0 comes to another state in step {steps - 1}; the environment is"):
        Trajectories(str(tmp_path / "way.npz")).begin(env.env, 0, None)
    np.savez(tmp_path / "way.npz", **{**played, "seeds": np.array([2**30])})
    with pytest.raises(ValueError, match="must not be trained on"):
        Trajectories(str(tmp_path / "way.npz"))
    whole = (tmp_path / "way.npz").read_bytes()
    np.save(tmp_path / "array.npy", np.zeros(3))
    for content in (b"", whole[:300], (tmp_path / "array.npy").read_bytes()):
        (tmp_path / "way.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"way.npz' holds no trajectories for this study \(.+\)"):
            Trajectories(str(tmp_path / "way.npz"))
    nowhere = TaskSpace({"start": {**space.parameters["start"], "trajectories": "none.npz"}}, {"start": 1.0})
    with pytest.raises(ValueError, match=r"none.npz' holds no trajectories.*autorl export STUDY --format model"):
        TaskEnv(LAKE, {}, (), nowhere)


def test_an_episode_that_begins_midway_is_cut_short(tmp_path: Path) -> None:
    space = {"parameters": {"start": shortest_way(tmp_path, 8)}, "target": {"start": 1.0}, "success_return": None}
    lessons = make_lessons(space, resolved({"kind": "snapshots", "over": 0.5, "truncate": 3}), 100, 0)
    env = Taught(Monitor(TaskEnv(LAKE, {"size": 8}, (), lessons.space)), lessons)
    cut = 0
    while lessons.steps < 50:
        env.reset()
        over, steps = False, 0
        while not over:
            _, _, terminated, truncated, info = env.step(3)  # up, where nothing but a hole ends it
            over, steps = terminated or truncated, steps + 1
        assert info["episode"]["l"] == steps <= 3
        cut += truncated
    assert cut > 5
    env.reset()  # of the target now, at the northern edge
    assert [env.step(3)[2:4] for _ in range(4)] == [(False, False)] * 4


def test_a_failed_episode_begins_again_as_it_began(tmp_path: Path) -> None:
    lessons = make_lessons(
        {**GRAVITY, "success_return": 1e9}, resolved({"kind": "failures", "replay": 1.0, "buffer": 1}), 1_000, 0
    )
    env = Taught(Monitor(TaskEnv("CartPole-v1", {}, (), lessons.space)), lessons)
    starts = []
    for _ in range(3):
        starts.append(env.reset()[0])
        over = False
        while not over:
            _, _, over, _, _ = env.step(0)
    assert np.array_equal(starts[0], starts[1])
    assert np.array_equal(starts[0], starts[2])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("algorithm", "env", "settings", "space"),
    [
        ("dqn", LAKE, {"learning_starts": 20, "n_envs": 2, "buffer_size": 100}, DISTANCE),
        ("ars", "CartPole-v1", {"n_delta": 2, "normalize": True}, GRAVITY),
        ("sac", "Pendulum-v1", {"learning_starts": 20, "batch_size": 16, "frame_stack": 2}, PENDULUM),
    ],
)
def test_whatever_the_algorithm_and_however_the_task_is_set(
    algorithm: str, env: str, settings: dict[str, Any], space: dict[str, Any], tmp_path: Path
) -> None:
    asked = recipe(algorithm, env, settings, space, steps=480, kind="learning_progress", bins=3)
    whole = train(Sb3Backend(), asked, tmp_path / "whole")
    for until in (150, 330):
        train(Sb3Backend(), asked, tmp_path / "parts", until=until)
    rest = train(Sb3Backend(), asked, tmp_path / "parts")
    assert recorded(rest) == recorded(whole)
    assert not any("fresh episode" in note for note in rest.notes)


def test_the_record_says_what_was_trained(tmp_path: Path) -> None:
    result = train(Sb3Backend(), lake("stages", steps=1536), tmp_path / "a")
    told = [point.curriculum["distance"] for point in result.curve if point.curriculum is not None]
    assert len(told) == 4
    assert all(len(part["env_steps"]) == 8 for part in told)  # as many as there are distances
    steps = np.sum([part["env_steps"] for part in told], axis=0)
    assert steps[0] > 0
    assert 1536 - 2 * 40 < steps.sum() <= 1536  # but for what is in the middle of an episode
    first = told[0]
    assert first["success"][0] == first["return"][0] > 0.5  # one move from the goal
    assert first["success"][-1] is None or first["episodes"][-1] > 0
    untaught = train(Sb3Backend(), Recipe.from_dict({**_plain(lake("none"))}), tmp_path / "b")
    assert all("curriculum" not in point.to_dict() for point in untaught.curve)


def _plain(asked: Recipe) -> dict[str, Any]:
    return {key: value for key, value in asked.to_dict().items() if key not in ("task_space", "curriculum")}


def test_without_a_curriculum_the_target_alone_is_trained(tmp_path: Path) -> None:
    """Kind none on the target that the environment has anyway is the same training as without a task space."""
    taught, plain = lake("none"), Recipe.from_dict(_plain(lake("none")))
    assert learned(train(Sb3Backend(), taught, tmp_path / "a")) == learned(train(Sb3Backend(), plain, tmp_path / "b"))


def test_a_curriculum_learns_what_cannot_be_explored(tmp_path: Path) -> None:
    asked = {"n_envs": 8, "n_steps": 64, "batch_size": 128, "n_epochs": 6, "learning_rate": 3e-3, "gamma": 0.95}
    space = {"parameters": {"distance": {"min": 1, "max": 22, "through": "set_task"}}, "target": {"distance": 22}}
    played = {"parameters": {"start": shortest_way(tmp_path, 12)}, "target": {"start": 1.0}}
    scores = {}
    for kind in ("none", "learning_progress", "snapshots"):
        varies, options = (played, {"over": 0.5}) if kind == "snapshots" else (space, {})
        whole = recipe("ppo", LAKE, asked, varies, steps=8192, kind=kind, **options)
        data = {**whole.to_dict(), "env_kwargs": {"size": 12}, "deterministic": False, "evaluation_episodes": 10}
        scores[kind] = train(Sb3Backend(), Recipe.from_dict(data), tmp_path / kind).curve[-1].metrics["return"]
    assert scores["none"] == 0.0
    assert scores["learning_progress"] >= 0.8
    assert scores["snapshots"] >= 0.8


def test_a_fork_takes_over_what_the_teacher_has_learned(tmp_path: Path) -> None:
    donor = lake("adr")
    train(Sb3Backend(), donor, tmp_path / "donor", until=192)
    data = {**donor.to_dict(), "hyperparameters": {**PPO, "learning_rate": 1e-3}}
    same = Recipe.from_dict({**data, "start": {"recipe": donor.to_dict(), "env_steps": 192}})
    (tmp_path / "fork").write_bytes((tmp_path / "donor").read_bytes())
    forked = train(Sb3Backend(), same, tmp_path / "fork")
    assert recorded(train(Sb3Backend(), same, tmp_path / "anew")) == recorded(forked)  # the whole lineage
    other = Recipe.from_dict({**same.to_dict(), "curriculum": resolved({"kind": "linear", "over": 0.6})})
    assert other.start == Start(donor, 192)
    (tmp_path / "other").write_bytes((tmp_path / "donor").read_bytes())
    result = train(Sb3Backend(), other, tmp_path / "other")
    assert result.status == "completed", result.error
    # At half of the run a linear curriculum of six tenths is near its end, also one that has just begun.
    assert result.curve[2].curriculum is not None
    assert sum(result.curve[2].curriculum["distance"]["env_steps"][:5]) < 30


def test_an_environment_becomes_its_task_in_each_way() -> None:
    cartpole = TaskSpace(GRAVITY["parameters"], GRAVITY["target"])
    env = TaskEnv("CartPole-v1", {}, (), cartpole)
    env.reset(seed=1, options={"task": {"gravity": 5.5}})
    assert env.unwrapped.gravity == 5.5  # type: ignore[attr-defined]
    pendulum = TaskSpace(PENDULUM["parameters"], PENDULUM["target"])
    env = TaskEnv("Pendulum-v1", {}, (), pendulum)
    env.reset(seed=1, options={"task": {"g": 3.0}})
    first = env.unwrapped.np_random.random()
    env.reset(options={"task": {"g": 4.0}})
    assert env.unwrapped.g == 4.0  # type: ignore[attr-defined]
    again = gym.make("Pendulum-v1")
    again.reset(seed=1)
    assert again.unwrapped.np_random.random() == first  # one stream, whatever was made again
    again.reset()
    assert again.unwrapped.np_random.random() == env.unwrapped.np_random.random()


def test_evaluation_draws_from_the_target_by_its_seed() -> None:
    space = TaskSpace(PENDULUM["parameters"], PENDULUM["target"])
    env = OnTarget(TaskEnv("Pendulum-v1", {}, (), space), space)
    drawn = []
    for seed in (3, 4, 3):
        env.reset(seed=seed)
        drawn.append(env.unwrapped.g)  # type: ignore[attr-defined]
        env.reset()
        drawn.append(env.unwrapped.g)  # type: ignore[attr-defined]
    assert drawn[:2] == drawn[4:]
    assert len(set(drawn)) == 4
    assert all(9.0 <= g <= 11.0 for g in drawn)
