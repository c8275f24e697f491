"""Multi-objective reinforcement learning as a backend: agents that are judged by their front."""

import os

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # mo-gymnasium imports pygame, which greets on stdout

from autorl.training.morl.backend import MorlBackend

__all__ = ["MorlBackend"]
