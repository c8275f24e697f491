"""FrozenLake by start distance: a task whose target is hopeless to explore from, and easy from near the goal.

`autorl.training.curriculum.frozen_lake:autorl/FrozenLakeStart-v0` in a study makes it.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv, generate_random_map


class FrozenLakeStart(FrozenLakeEnv):
    """FrozenLake without slipping, whose episodes begin a given number of moves from the goal.

    Observations are one-hot (shape: size²). The return is 1 at the goal, else 0, after at most 8 · size moves.

    Args:
        size: rows, and columns.
        map_seed: seed of the map.
        frozen: probability that a field is frozen.

    Attributes:
        distance_of_start: moves from the map's own start to the goal.
    """

    def __init__(self, size: int = 12, map_seed: int = 3, frozen: float = 0.9) -> None:
        super().__init__(desc=generate_random_map(size=size, p=frozen, seed=map_seed), is_slippery=False)
        self.observation_space = spaces.Box(0.0, 1.0, (size * size,), np.float32)
        self._eye = np.eye(size * size, dtype=np.float32)
        self._starts = self._by_distance()
        self.distance_of_start = next(distance for distance, fields in self._starts.items() if 0 in fields)
        self._start = self.distance_of_start
        self._steps, self._limit = 0, 8 * size

    def _by_distance(self) -> dict[int, list[int]]:
        """Return distance → fields that are so many moves from the goal."""
        letters = np.asarray(self.desc).ravel()
        goal = int(np.flatnonzero(letters == b"G")[0])
        before: dict[int, set[int]] = {}
        for field, moves in self.P.items():
            if letters[field] in b"SF":
                for ((_, after, _, _),) in moves.values():
                    before.setdefault(after, set()).add(field)
        found, known, front = {0: [goal]}, {goal}, [goal]
        while front:
            front = sorted({field for after in front for field in before.get(after, ())} - known)
            known |= set(front)
            if front:
                found[len(found)] = front
        return found

    def set_task(self, distance: int) -> None:
        """Let episodes begin so many moves from the goal: at the map's start if that is its distance, else anywhere.

        Raises:
            ValueError: no field has this distance.
        """
        if distance not in self._starts or distance == 0:
            raise ValueError(
                f"distance {distance}: this lake has 1 to {max(self._starts)}; its start has {self.distance_of_start}"
            )
        self._start = distance

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed, options=options)
        if self._start != self.distance_of_start:
            fields = self._starts[self._start]
            self.s = fields[int(self.np_random.integers(len(fields)))]
        self._steps = 0
        return self._eye[int(self.s)].copy(), {}

    def step(self, a: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move."""
        field, reward, terminated, _, _ = super().step(int(a))  # type: ignore[no-untyped-call] # Gymnasium's
        self._steps += 1
        truncated = not terminated and self._steps >= self._limit
        info = {"is_success": bool(reward)} if terminated or truncated else {}
        return self._eye[int(field)].copy(), float(reward), terminated, truncated, info


gym.register("autorl/FrozenLakeStart-v0", f"{__name__}:FrozenLakeStart")
