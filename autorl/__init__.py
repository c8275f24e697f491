"""autorl: hyperparameter optimization for reinforcement learning that says how far its number can be trusted.

`tune` conducts a study, `load` opens one, `compare` puts several side by side: what the command line does, in Python.
"""

from importlib.metadata import version

from autorl.api import Study, compare, load, tune

__all__ = ["Study", "compare", "load", "tune"]
__version__ = version("autorl")
