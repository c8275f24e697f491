"""Numbers that change as training goes on."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def scheduled(name: str, numbers: dict[str, Array], progress: Array) -> Array:
    """Return a number that may go to 0 as training does: its `_linear` is 1 then, and 0 if it stays.

    At 0 it stays: the last rollout may end, and is learned from, beyond the end of training.
    """
    linear = numbers[f"{name}_linear"]
    return numbers[name] * (1.0 - linear * (1.0 - jnp.maximum(progress, 0.0)))
