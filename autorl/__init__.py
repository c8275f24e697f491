"""autorl: hyperparameter optimization for reinforcement learning that says how far its number can be trusted.

`tune` conducts a study, `validate` says what is wrong with one, `load` opens one, `compare` puts several side by side,
`unpack` opens one that was dumped as a file: what the command line does, in Python.
"""

from importlib.metadata import version

from autorl.api import Study, compare, load, tune, unpack, validate

__all__ = ["Study", "compare", "load", "tune", "unpack", "validate"]
__version__ = version("autorl")
