"""Stable-Baselines3's algorithms in JAX: many runs in one compiled program."""

from autorl.training.jax.backend import JaxBackend

__all__ = ["JaxBackend"]
