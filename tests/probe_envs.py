"""Environments with known answers, and environments that misbehave."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Bandit(gym.Env[np.ndarray, int]):
    """One step; the third of four actions pays 1, the others 0. The best return is 1."""

    observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(4)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.random(2, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self.np_random.random(2, dtype=np.float32), float(action == 2), True, False, {}


class Paced(Bandit):
    """The bandit, at so many seconds a step: training that takes time but no processor."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        time.sleep(self._seconds)
        return super().step(action)


class Target(gym.Env[np.ndarray, np.ndarray]):
    """One step; the return is minus the squared distance of the action from 0.5. The best return is 0."""

    observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.random(2, dtype=np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self.np_random.random(2, dtype=np.float32), -float((action[0] - 0.5) ** 2), True, False, {}


class Risky(gym.Env[np.ndarray, np.ndarray]):
    """Two steps; a step pays its action and costs its square, which its info calls `risk`.

    The best return is 2, at a cost of 2. Under a limit `d` on an episode's cost it is `sqrt(2 d)`, with both actions
    `sqrt(d / 2)`.

    Args:
        seconds: that a step takes.
    """

    observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._second = False
        return self.np_random.random(2, dtype=np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        time.sleep(self._seconds)
        over, self._second = self._second, True
        paid = float(action[0])
        return self.np_random.random(2, dtype=np.float32), paid, over, False, {"risk": paid**2, "fast": paid > 0.5}


class Walk(gym.Env[np.ndarray, int]):
    """Episodes of twenty steps whose observations come from a generator that Gymnasium does not know."""

    observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self._unknown = np.random.default_rng(0)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._unknown.random(2, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return self._unknown.random(2, dtype=np.float32), float(action), False, self._steps >= 20, {}


class Broken(Bandit):
    """Fails at a given step, in any of the ways in which environments fail.

    Args:
        how: `raise`, `nan`, `inf`, `die` (by SIGKILL), `segv`, `exit`, `oom` (allocates without end), `hang`, `linger`
            (starts a child process that does not end, and goes on).
        at: the step of its life.
        log: file to which each failing process writes its id.
        times: how many processes fail; those after them do not.
    """

    def __init__(self, how: str, at: int = 40, log: str | None = None, times: int = 1_000_000) -> None:
        self._how, self._at, self._log, self._times, self._steps = how, at, log, times, 0

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        observation, reward, *rest = super().step(action)
        if self._steps == self._at and self._its_turn():
            reward = FAILURES[self._how](self._log)
        return observation, reward, *rest  # type: ignore[return-value]

    def _its_turn(self) -> bool:
        if self._log is None:
            return True
        with Path(self._log).open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            before = len(file.read().split())
            file.write(f"{os.getpid()}\n")
        return before < self._times


def _raise(_log: str | None) -> float:
    raise RuntimeError("the simulator broke")


def _segfault(_log: str | None) -> float:
    return float(ctypes.string_at(0)[0])


def _allocate(_log: str | None) -> float:
    held = []
    while True:
        held.append(np.empty(2**24))


def _sleep(_log: str | None) -> float:
    while True:
        time.sleep(60)


def _leave_a_child(log: str | None) -> float:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _sleep(log)
    with Path(f"{log}.children").open("a") as file:
        file.write(f"{child}\n")
    return 0.0


FAILURES: dict[str, Callable[[str | None], float]] = {
    "raise": _raise,
    "nan": lambda _log: float("nan"),
    "inf": lambda _log: float("inf"),
    "die": lambda _log: os.kill(os.getpid(), signal.SIGKILL) or 0.0,
    "segv": _segfault,
    "exit": lambda _log: os._exit(3),
    "oom": _allocate,
    "hang": _sleep,
    "linger": _leave_a_child,
}


class Trade(gym.Env[np.ndarray, int]):
    """One step, two objectives; no policy is best for both, and no weights favour the one in the hollow of the front.

    Args:
        how: as in `Broken`, at the fortieth step of its life; by default it works.
        noise: standard deviation of each reward.
    """

    PAYS = np.array([[1.0, 0.0], [0.0, 1.0], [0.4, 0.4], [0.3, 0.3]])

    observation_space = spaces.Box(0, 1, (1,), np.int32)
    action_space = spaces.Discrete(len(PAYS))
    reward_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self, how: str | None = None, noise: float = 0.0) -> None:
        self._how, self._noise, self._steps = how, noise, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.int32), {}

    def step(self, action: int) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        self._steps += 1
        reward = self.PAYS[action] + self._noise * self.np_random.standard_normal(2)
        if self._how is not None and self._steps == 40:
            reward = reward + FAILURES[self._how](None)
        return np.ones(1, np.int32), reward, True, False, {}


class Doubled(gym.RewardWrapper[np.ndarray, int]):
    """Multiplies rewards."""

    def __init__(self, env: gym.Env[np.ndarray, int], by: float = 2.0) -> None:
        super().__init__(env)
        self._by = by

    def reward(self, reward: Any) -> float:
        return float(reward) * self._by


def swing(
    observation: Any, action: Any, reward: Any, terminated: bool, truncated: bool, info: Any, above: float = 1.0
) -> float:
    """Return a cost of 1 where a pendulum is faster than so many radians a second."""
    return float(abs(observation[2]) > above)


class Named(gym.ObservationWrapper[dict[str, np.ndarray], Any, np.ndarray]):
    """Puts what is observed into a dictionary."""

    def __init__(self, env: gym.Env[np.ndarray, Any]) -> None:
        super().__init__(env)
        self.observation_space = spaces.Dict({"seen": env.observation_space})

    def observation(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        return {"seen": observation}


for name, kind in (
    ("Bandit", Bandit),
    ("Paced", Paced),
    ("Target", Target),
    ("Risky", Risky),
    ("Walk", Walk),
    ("Broken", Broken),
    ("Trade", Trade),
):
    gym.register(f"autorl-tests/{name}-v0", kind)
