"""autorl: hyperparameter optimization for reinforcement learning that says how far its number can be trusted."""

from importlib.metadata import version

__version__ = version("autorl")
