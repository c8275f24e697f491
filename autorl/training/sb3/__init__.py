"""Stable-Baselines3 and sb3-contrib as a backend."""

from autorl.training.sb3.backend import Sb3Backend

__all__ = ["Sb3Backend"]
