"""How the tasks that a teacher chooses reach the environments, and what came of them the teacher.

Knows nothing of autorl: see `sb3/plain.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import TEACHER, Outcome, Task, Teacher
from autorl.training.curriculum.trajectories import trajectories_of
from autorl.training.tasks import make_env


class Lessons:
    """The episodes of a run, or its groups of completions: their tasks, and the record of what came of them.

    Args:
        space: what varies.
        teacher: who chooses.
        env_steps: environment steps of the run.
        success_return: return from which an episode is a success, where the environment does not say `is_success`.
    """

    # Parts of an axis that the record tells apart.
    parts = 10

    def __init__(self, space: TaskSpace, teacher: Teacher, env_steps: int, success_return: float | None) -> None:
        self.space, self.teacher, self.env_steps, self.success_return = space, teacher, env_steps, success_return
        self.steps = 0
        self.current: list[Task | None] = []
        self._cells, self._counts = space.cells(self.parts), list(space.counts.values())
        self._totals = self._none()
        self._told: list[tuple[Task, Outcome]] = []

    def _none(self) -> list[list[list[float]]]:
        """Return axis → part → environment steps, episodes, returns, successes and how many were known: all 0."""
        return [[[0.0] * 5 for _ in range(count)] for count in self._cells]

    def join(self) -> int:
        """Return the number of one more environment."""
        self.current.append(None)
        return len(self.current) - 1

    def begin(self, number: int) -> tuple[dict[str, Any], int | None]:
        """Return the options with which an environment begins its next episode, and the seed of its reset, if any."""
        task = self.current[number] = self.teacher.ask(min(1.0, self.steps / self.env_steps))
        options: dict[str, Any] = {"task": self.space.task(task.vector)}
        return options if task.limit is None else {**options, "limit": task.limit}, task.seed

    @property
    def progress(self) -> float:
        """The share of the run that has been trained."""
        return min(1.0, self.steps / self.env_steps)

    def ask(self) -> Task:
        """Return the task that the teacher chooses next."""
        return self.teacher.ask(self.progress)

    def tell(self, told: Sequence[tuple[Task, Outcome]]) -> None:
        """Tell the teacher what came of tasks, and record it."""
        self.teacher.tell_all(told)
        self._told += told

    def _add_up(self) -> None:
        """Add to the record what was told: many at once, since one between two episodes takes several times as long."""
        for task, outcome in self._told:
            for totals, u, count, n in zip(self._totals, task.vector, self._cells, self._counts, strict=True):
                if n:  # a value stands in the middle of its part of the axis
                    u = (int(u * n) + 0.5) / n
                part = totals[min(max(int(u * count), 0), count - 1)]
                part[0] += outcome.length
                part[1] += 1
                part[2] += outcome.value
                if outcome.success is not None:
                    part[3] += outcome.success
                    part[4] += 1
        self._told.clear()

    def end(self, number: int, info: Mapping[str, Any]) -> None:
        """Tell the teacher what came of an environment's episode, unless another teacher had begun it.

        Args:
            number: of the environment.
            info: of the episode's last step, with `episode`, as SB3's `Monitor` has it.
        """
        task, episode = self.current[number], info["episode"]
        if task is None:
            return
        value, length, success = float(episode["r"]), int(episode["l"]), None
        if "is_success" in info:
            success = float(info["is_success"])
        elif self.success_return is not None:
            success = float(value >= self.success_return)
        outcome = Outcome(value, success, length)
        self.teacher.tell(task, outcome)
        self._told.append((task, outcome))

    def record(self) -> dict[str, Any]:
        """Return what was trained since this was last called, and begin anew.

        Returns:
            Parameter → lists over the parts of its axis (`TaskSpace.cells`) of `env_steps` and `episodes` that ended,
            and their mean `return` and `success`; None where there are none, or nobody says what a success is.
            `TEACHER` → where the teacher stands, if it says so.
        """
        self._add_up()
        totals, self._totals = self._totals, self._none()
        found = {}
        for name, parts in zip(self.space.parameters, totals, strict=True):
            steps, episodes, values, successes, known = zip(*parts, strict=True)
            found[name] = {
                "env_steps": [int(count) for count in steps],
                "episodes": [int(count) for count in episodes],
                "return": _means(values, episodes),
                "success": _means(successes, known),
            }
        stands = self.teacher.stands()
        return {**found, TEACHER: stands} if stands else found

    def go_on(self, state: Mapping[str, Any], taught: bool) -> None:
        """Go on from the state of another run's lessons; of the episodes under way nothing will be told.

        Args:
            state: what `state` returned of them.
            taught: whether they had the same space and teacher, so that what that one has learned holds here.
        """
        self.steps = state["steps"]
        if taught:
            self.teacher.restore(state["teacher"])

    def state(self) -> dict[str, Any]:
        """Return what changes as plain data for JSON."""
        self._add_up()
        return {
            "steps": self.steps,
            "current": [None if task is None else task._asdict() for task in self.current],
            "totals": self._totals,
            "teacher": self.teacher.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state` returned of lessons with the same space, teacher and environments."""
        self.steps, self._totals = state["steps"], state["totals"]
        self.current = [
            None if task is None else Task(**{**task, "vector": tuple(task["vector"])}) for task in state["current"]
        ]
        self.teacher.restore(state["teacher"])


class Taught(gym.Wrapper[Any, Any, Any, Any]):
    """A training environment, each of whose episodes is of the task that the teacher chooses.

    The task goes through `options`, so whoever repeats a reset repeats the task.
    """

    def __init__(self, env: gym.Env[Any, Any], lessons: Lessons) -> None:
        super().__init__(env)
        self.lessons, self._number = lessons, lessons.join()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode of the teacher's next task."""
        chosen, own_seed = self.lessons.begin(self._number)
        return self.env.reset(seed=seed if own_seed is None else own_seed, options={**(options or {}), **chosen})

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and tell the teacher when the episode ends."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.lessons.steps += 1
        if terminated or truncated:
            self.lessons.end(self._number, info)
        return observation, reward, terminated, truncated, info


class OnTarget(gym.Wrapper[Any, Any, Any, Any]):
    """An evaluation environment: its episodes are of the target's tasks, which the seed draws."""

    def __init__(self, env: gym.Env[Any, Any], space: TaskSpace) -> None:
        super().__init__(env)
        self._space, self._rng = space, np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode of a task drawn from the target."""
        if seed is not None:
            self._rng = np.random.default_rng([seed, 1])  # the environment itself draws from that of the seed alone
        task = self._space.task(self._space.draw_target(self._rng))
        return self.env.reset(seed=seed, options={**(options or {}), "task": task})


class TaskEnv(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that becomes the task that `reset` is given in `options["task"]` (parameter → value).

    With `options["limit"]` the episode is cut short, truncated, after so many steps.

    Args:
        env_id: Gymnasium id.
        env_kwargs: arguments of `gymnasium.make`.
        wrappers: inner first, as `make_env` takes them.
        space: what varies; its parameters say `through` what the environment is told: `set_task`, `env_kwargs` or
            `attribute`, or that the episode begins in a state of a `trajectory`.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any], wrappers: Sequence[Any], space: TaskSpace) -> None:
        self._made_of = env_id, env_kwargs, wrappers
        self._through = {name: entry["through"] for name, entry in space.parameters.items()}
        self._changed: dict[str, Any] = {}
        super().__init__(make_env(env_id, env_kwargs, wrappers))
        self._set_task: Any = None
        self._left: int | None = None
        started = [name for name, through in self._through.items() if through == "trajectory"]
        self._start = started[0] if started else None
        self._played = trajectories_of(space.parameters[started[0]]) if started else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Become the task, then reset."""
        rest = dict(options or {})
        task = dict(rest.pop("task", {}))
        self._left = rest.pop("limit", None)
        start = task.pop(self._start, 1.0)
        self._become(task)
        number = self._played.numbered(start) if self._played is not None else None
        if self._played is None or number is None:
            return self.env.reset(seed=seed, options=rest or None)
        if seed is not None:
            self.env.reset(seed=seed)
        return self._played.begin(self.env, number, rest or None)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and end the episode where it is to be cut short."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._left is not None:
            self._left -= 1
            truncated = truncated or self._left <= 0
        return observation, reward, terminated, truncated, info

    def _become(self, task: Mapping[str, Any]) -> None:
        parts: dict[str, dict[str, Any]] = {"env_kwargs": {}, "attribute": {}, "set_task": {}}
        for name, value in task.items():
            parts[self._through[name]][name] = value
        if parts["env_kwargs"] != self._changed:
            self._make_again(parts["env_kwargs"])
        for name, value in parts["attribute"].items():
            if not hasattr(self.env.unwrapped, name):
                raise ValueError(f"{type(self.env.unwrapped).__name__} has no attribute '{name}'")
            setattr(self.env.unwrapped, name, value)
        if parts["set_task"]:
            if self._set_task is None:
                self._set_task = self._method()
            self._set_task(**parts["set_task"])

    def _method(self) -> Any:
        if not self.env.has_wrapper_attr("set_task"):
            raise ValueError(
                f"{type(self.env.unwrapped).__name__} has no method set_task; "
                "say 'through: env_kwargs' or 'through: attribute'"
            )
        return self.env.get_wrapper_attr("set_task")

    def _make_again(self, changed: dict[str, Any]) -> None:
        old, (env_id, env_kwargs, wrappers) = self.env, self._made_of
        self.env = make_env(env_id, {**env_kwargs, **changed}, wrappers)
        self._changed, self._set_task = changed, None
        if (self.env.observation_space, self.env.action_space) != (old.observation_space, old.action_space):
            raise ValueError(f"{changed} changes the observations or actions, but a policy has one shape of each")
        # The stream of random numbers goes on, or episodes would not follow from the seed.
        self.env.unwrapped.np_random = old.unwrapped.np_random
        old.close()


def _means(sums: Sequence[float], counts: Sequence[float]) -> list[float | None]:
    return [round(s / n, 6) if n else None for s, n in zip(sums, counts, strict=True)]
