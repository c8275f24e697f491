"""What policies act by: the distributions of SB3's actor-critic policies, given the outputs of their networks.

An action space is described by an `ActionSpace`; noise is drawn apart from what it is used for, so that a whole
rollout's can be drawn at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Array = jax.Array


@dataclass(frozen=True)
class ActionSpace:
    """What an agent can do.

    Attributes:
        choices: how many values each discrete action has; empty for continuous actions.
        low: lower bounds of continuous actions; empty for discrete ones.
        high: upper bounds.
    """

    choices: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @property
    def discrete(self) -> bool:
        """Whether actions are discrete."""
        return bool(self.choices)

    @property
    def outputs(self) -> int:
        """How many numbers a policy's network puts out."""
        return sum(self.choices) if self.discrete else len(self.low)

    @property
    def actions(self) -> int:
        """How many numbers an action has."""
        return len(self.choices) or len(self.low)


def noise(key: Array, space: ActionSpace, shape: tuple[int, ...]) -> Array:
    """Draw what `sample` needs: Gumbel noise for each choice, or normal noise. Shape ``(*shape, outputs)``."""
    draw = jax.random.gumbel if space.discrete else jax.random.normal
    return draw(key, (*shape, space.outputs))


def sample(outputs: Array, log_std: Array, space: ActionSpace, drawn: Array) -> Array:
    """Return actions, integers or floats of shape ``(..., actions)``; `drawn` is of `noise`, or zero for the mode."""
    if not space.discrete:
        return outputs + jnp.exp(log_std) * drawn
    return jnp.stack([jnp.argmax(part, axis=-1) for part in _parts(outputs + drawn, space)], axis=-1)


def playable(actions: Array, space: ActionSpace) -> Array:
    """Return actions within the bounds of their space, as SB3 hands them to the environment."""
    return actions if space.discrete else jnp.clip(actions, jnp.asarray(space.low), jnp.asarray(space.high))


def playable_numpy(actions: NDArray[Any], space: ActionSpace) -> NDArray[Any]:
    """Return what `playable` does, on the host."""
    return (
        actions
        if space.discrete
        else np.clip(actions, np.array(space.low, np.float32), np.array(space.high, np.float32))
    )


def log_prob_and_entropy(outputs: Array, log_std: Array, actions: Array, space: ActionSpace) -> tuple[Array, Array]:
    """Return the log probability (density) of actions and the distribution's entropy, both of shape ``(...)``.

    Continuous actions are independent normals: log p = sum -(a - mu)^2 / (2 s^2) - log s - log(2 pi) / 2, H = sum 1/2 +
    log(2 pi) / 2 + log s.
    """
    if not space.discrete:
        each = -0.5 * ((actions - outputs) * jnp.exp(-log_std)) ** 2 - log_std - 0.5 * math.log(2.0 * math.pi)
        entropy = jnp.sum(log_std + 0.5 + 0.5 * math.log(2.0 * math.pi))
        return jnp.sum(each, axis=-1), jnp.broadcast_to(entropy, outputs.shape[:-1])
    log_prob, entropy = jnp.zeros(outputs.shape[:-1]), jnp.zeros(outputs.shape[:-1])
    for index, part in enumerate(_parts(outputs, space)):
        logits = jax.nn.log_softmax(part)
        chosen = actions[..., index, None].astype(jnp.int32)
        log_prob += jnp.take_along_axis(logits, chosen, axis=-1)[..., 0]
        entropy -= jnp.sum(jnp.exp(logits) * logits, axis=-1)
    return log_prob, entropy


def _parts(outputs: Array, space: ActionSpace) -> list[Array]:
    ends = [sum(space.choices[: index + 1]) for index in range(len(space.choices) - 1)]
    return jnp.split(outputs, ends, axis=-1)
