"""Batches of runs as arrays with the lanes in front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from autorl.training.jax.on_policy import OnPolicy
from autorl.training.jax.protocol import Streams
from autorl.training.jax.settings import Settings
from autorl.training.jax.transitions import Replay

Array = jax.Array
Shape = OnPolicy | Replay


class Lanes:
    """Which run is in which lane of a program that always has as many: those that are left over repeat the first run.

    Args:
        settings: of each run, of one shape.
        streams: of each run.
        lanes: how many the program has.

    Attributes:
        runs: how many runs there are.
        lanes: as given.
        shape: what the program is compiled for.
        scaling: how it normalizes.
        numbers: name → Shape ``(lanes,)``.
        streams: of each run.
    """

    def __init__(self, settings: Sequence[Settings], streams: Sequence[Streams], lanes: int) -> None:
        self.runs, self.lanes = len(settings), lanes
        self.shape, self.scaling = settings[0].shape, settings[0].scaling
        self._run_of = [*range(self.runs), *[0] * (lanes - self.runs)]
        self.streams = streams
        self.numbers = {
            name: jnp.asarray([settings[run].numbers[name] for run in self._run_of], jnp.float32)
            for name in settings[0].numbers
        }

    def keys(self, seeds: Sequence[int]) -> Array:
        """Return a key for each lane from the seeds of the runs, shape ``(lanes, 2)``."""
        return jnp.stack([jax.random.PRNGKey(seeds[run]) for run in self._run_of])

    def networks(self) -> Array:
        """Return the keys of networks and training."""
        return self.keys([each.network for each in self.streams])

    def environments(self) -> Array:
        """Return the keys of training environments."""
        return self.keys([each.environment for each in self.streams])

    def evaluations(self, point: int) -> Array:
        """Return the keys of an evaluation."""
        return self.keys([each.evaluations[point] for each in self.streams])

    def restored(self, fresh: Any, states: Sequence[Mapping[str, Any]]) -> Any:
        """Return lanes in the states that `written` returned of each run.

        Args:
            fresh: lanes that have not begun.
            states: one for each run.

        Raises:
            ValueError: a state has other shapes.
        """
        template = lane(fresh, 0)
        found = [serialization.from_state_dict(template, states[run]) for run in self._run_of]
        if any(jax.tree.map(jnp.shape, each) != jax.tree.map(jnp.shape, template) for each in found):
            raise ValueError("backend jax cannot fork a run into other networks, n_envs or n_steps, only other numbers")
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)


def lane(lanes: Any, index: int) -> Any:
    """Return one lane."""
    return jax.tree.map(lambda leaf: leaf[index], lanes)


def written(lanes: Any, run: int) -> dict[str, Any]:
    """Return the state of a run as plain data and arrays."""
    state: dict[str, Any] = serialization.to_state_dict(jax.tree.map(np.asarray, lane(lanes, run)))
    return state


@jax.jit
def finite(lanes: Any) -> Array:
    """Say for each lane whether all of its floating-point numbers are finite."""
    leaves = [leaf for leaf in jax.tree.leaves(lanes) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x.reshape(len(x), -1)), axis=1) for x in leaves]), axis=0)
