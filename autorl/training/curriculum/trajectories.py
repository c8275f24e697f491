"""Start states from a teacher's trajectories. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import gymnasium as gym
import numpy as np


class Trajectories:
    """Episodes that a teacher played, any state of which an episode may begin in (Zhao et al. 2024, arXiv 2403.00673).

    A state is reached as the teacher reached it: by the seed of its reset and its actions. That works for every
    environment that is deterministic by its seed, whereas most simulators have no snapshots of their own.

    The file is NumPy's `.npz` with `seeds` and `lengths` (shape: episodes), and of their steps, one episode after the
    other, `actions` (shape: steps, and that of an action) and the `observations` that they were chosen at (shape:
    steps, features), flat; and perhaps `values` (shape: steps), what the teacher expected to return from each.

    Args:
        path: of the file.
        sha256: of its content, if it must be a certain one.

    Attributes:
        states: episode and step of each state that lies between the start and the end of its episode, those with the
            fewest steps left first (shape: states, 2).
        left: the steps that the teacher took from each of them (shape: states).

    Raises:
        ValueError: there is no such file, it holds something else, or its episodes begin as those of evaluations do.
    """

    def __init__(self, path: str, sha256: str | None = None) -> None:
        self.path = path
        try:
            with Path(path).open("rb") as file:
                if sha256 is not None and (own := hashlib.file_digest(file, "sha256").hexdigest()) != sha256:
                    raise ValueError(f"its SHA-256 is {own}, that of the study's file {sha256}")
                file.seek(0)
                played = np.load(file, allow_pickle=False)
                self._seeds, lengths, self._actions, self._observations = (
                    played[name] for name in ("seeds", "lengths", "actions", "observations")
                )
                self._values = played["values"] if "values" in played.files else np.zeros(len(self._actions))
        except (OSError, EOFError, BadZipFile, IndexError, KeyError, ValueError) as error:
            raise ValueError(
                f"'{path}' holds no trajectories for this study ({str(error) or type(error).__name__}); "
                "'autorl export STUDY --format model' writes some"
            ) from None
        steps = {len(self._actions), len(self._observations), len(self._values)}
        if len(self._seeds) != len(lengths) or steps != {lengths.sum()} or not (lengths > 1).any():
            raise ValueError(f"'{path}': seeds, lengths, actions and observations do not belong together, or are empty")
        if (self._seeds >= 2**30).any():
            raise ValueError(f"'{path}': seeds from 2**30 on are those of evaluations, and must not be trained on")
        self._first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        found = [(length - step, episode, step) for episode, length in enumerate(lengths) for step in range(1, length)]
        ordered = np.array(sorted(found))
        self.left, self.states = ordered[:, 0], ordered[:, 1:]

    @property
    def observations(self) -> np.ndarray:
        """What each state looks like (shape: states, features)."""
        found: np.ndarray = self._observations[self._at]
        return found

    @property
    def values(self) -> np.ndarray:
        """What the teacher expected to return from each state (shape: states); all alike if it did not say."""
        found: np.ndarray = self._values[self._at]
        return found

    @property
    def _at(self) -> np.ndarray:
        found: np.ndarray = self._first[self.states[:, 0]] + self.states[:, 1]
        return found

    def numbered(self, share: float) -> int | None:
        """Return the state at a share of all, from 0, near the ends of episodes, to 1, where it is None: the start."""
        return None if share >= 1.0 else int(max(share, 0.0) * len(self.states))

    def begin(self, env: Any, number: int, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """Bring an environment into a state.

        What is random there from then on comes from the environment's own generator, not again from the teacher's.

        Args:
            env: Gymnasium environment.
            number: of the state.
            options: of its reset.

        Returns:
            Observation and info of the last step.

        Raises:
            ValueError: the same seed and actions lead elsewhere, so the environment is another one, or not
                deterministic.
        """
        episode, steps = (int(n) for n in self.states[number])
        generator = env.unwrapped.np_random
        observation, info = env.reset(seed=int(self._seeds[episode]), options=options)
        first = int(self._first[episode])
        for action in self._actions[first : first + steps]:
            # Discrete actions reach the environment as numpy integers, as they do in training.
            observation, _, terminated, truncated, info = env.step(action if action.ndim else action[()])
            if terminated or truncated:
                raise self._elsewhere(episode, f"ends before step {steps}")
        flat = np.asarray(gym.spaces.flatten(env.observation_space, observation))
        if not np.allclose(flat, self._observations[first + steps], rtol=1e-4, atol=1e-6):
            raise self._elsewhere(episode, f"comes to another state in step {steps}")
        env.unwrapped.np_random = generator
        return observation, info

    def _elsewhere(self, episode: int, how: str) -> ValueError:
        return ValueError(
            f"'{self.path}': played again, episode {episode} {how}; the environment is not the one it was played in, "
            "or not deterministic by its seed"
        )


def trajectories_of(entry: Mapping[str, Any]) -> Trajectories:
    """Read the file of a parameter that goes through a trajectory, once however many environments begin in its states.

    Args:
        entry: names the file, its `trajectories`, and may give its `sha256`.
    """
    return _read(entry["trajectories"], entry.get("sha256"))


@lru_cache(maxsize=4)
def _read(path: str, sha256: str | None) -> Trajectories:
    return Trajectories(path, sha256)
