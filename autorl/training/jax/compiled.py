"""The engine `compiled`: environments and learning in one program, all lanes a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autorl.training.jax import episodes, lanes, rollouts, transitions
from autorl.training.jax.environments import CompiledEnv
from autorl.training.jax.lanes import Lanes, Shape
from autorl.training.jax.normalize import Scaling
from autorl.training.jax.on_policy import Numbers, OnPolicy
from autorl.trial import Recipe

Array = jax.Array
Lane = rollouts.Lane | transitions.Lane


class Compiled:
    """A batch of runs; see `protocol.Engine`.

    Args:
        env: the environment.
        recipe: of one of the runs; what is used of it they have in common.
        batch: the runs.
        states: what `save` returned of each run, or None to begin.
    """

    def __init__(
        self, env: CompiledEnv, recipe: Recipe, batch: Lanes, states: Sequence[Mapping[str, Any]] | None
    ) -> None:
        self._env, self._recipe, self._batch, self._times = env, recipe, batch, 0
        self._program = {"env": env, "shape": batch.shape, "scaling": batch.scaling}
        self._lanes: Lane = _begin(batch.networks(), batch.environments(), numbers=batch.numbers, **self._program)
        if states is not None:
            self._lanes = batch.restored(self._lanes, [state["lane"] for state in states])
            self._times = int(states[0]["times"])
        self.errors: dict[int, Exception] = {}
        self.notes: dict[int, str] = {}

    @property
    def unit(self) -> int:
        """Environment steps of a rollout."""
        return self._batch.shape.steps

    @property
    def env_steps(self) -> int:
        """Environment steps of each run so far."""
        return self._times * self.unit

    def advance(self, times: int) -> None:
        """Collect so many rollouts, having learned from each before."""
        self._advance(times, closing=False)
        self._times += times

    def close(self) -> None:
        """Learn from the last rollout."""
        self._advance(0, closing=True)

    def _advance(self, times: int, closing: bool) -> None:
        counts = (jnp.asarray(n, jnp.int32) for n in (self._times, times, int(closing)))
        whole = [jnp.asarray(self._recipe.env_steps, jnp.float32)]
        if isinstance(self._batch.shape, OnPolicy):
            whole.append(jnp.asarray(self._batch.runs, jnp.int32))
        self._lanes = loop_of(self._batch.shape).advance(
            self._lanes, self._batch.numbers, *counts, *whole, **self._program
        )

    def evaluate(self, point: int) -> list[dict[str, float]]:
        """Play the episodes of an evaluation with each run's policy."""
        how = {"count": self._recipe.evaluation_episodes, "deterministic": self._recipe.deterministic}
        found = _evaluate(self._lanes, self._batch.evaluations(point), **how, **self._program)
        returns, lengths = (np.asarray(array, np.float64)[: self._batch.runs] for array in found)
        return [
            {"return": float(r.mean()), "return_std": float(r.std()), "length": float(n.mean())}
            for r, n in zip(returns, lengths, strict=True)
        ]

    def finite(self) -> list[bool]:
        """Say of each run whether what it has learned is finite."""
        return [bool(ok) for ok in np.asarray(lanes.finite(self._lanes.learner))[: self._batch.runs]]

    def save(self, run: int) -> dict[str, Any]:
        """Return the state of a run as plain data and arrays."""
        return {"lane": lanes.written(self._lanes, run), "times": self._times}

    def record(self, run: int) -> None:
        """Return None: what is compiled does not vary."""


def loop_of(shape: Shape) -> Any:
    """Return the module that trains programs of a shape: `rollouts` or `transitions`."""
    return rollouts if isinstance(shape, OnPolicy) else transitions


@partial(jax.jit, static_argnames=("env", "shape", "scaling"))
def _begin(
    networks: Array,
    environments: Array,
    *,
    numbers: Numbers,
    env: CompiledEnv,
    shape: Shape,
    scaling: Scaling | None,
) -> Lane:
    def one(network: Array, environment: Array, own: Numbers) -> Lane:
        lane: Lane = loop_of(shape).begin(network, environment, env, shape, scaling, own)
        return lane

    return jax.vmap(one)(networks, environments, numbers)


@partial(jax.jit, static_argnames=("count", "deterministic", "env", "shape", "scaling"))
def _evaluate(
    batch: Lane,
    keys: Array,
    *,
    count: int,
    deterministic: bool,
    env: CompiledEnv,
    shape: Shape,
    scaling: Scaling | None,
) -> tuple[Array, Array]:
    def one(lane: Lane, key: Array) -> tuple[Array, Array]:
        def choose(observations: Array, of_actions: Array) -> Array:
            how = {"shape": shape, "scaling": scaling, "deterministic": deterministic}
            actions: Array = loop_of(shape).choose(lane, observations, of_actions, **how)
            return actions

        return episodes.play(env, count, choose, key)

    return jax.vmap(one)(batch, keys)
