"""PPO's and A2C's policy on the host: what a call of a compiled program costs is more than a small network's products.

Outputs differ from `on_policy.act`'s in the last digits at most. What was done is what is learned from, and its
probability is computed there, so that only the choice between two actions as likely as each other can depend on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

from autorl.training.jax.on_policy import OnPolicy, Policy

Numpy = NDArray[Any]


def _elu(x: Numpy) -> Numpy:
    return np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0)))


ACTIVATIONS: Mapping[str, Callable[[Numpy], Numpy]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": _elu,
    "leaky_relu": lambda x: np.where(x > 0.0, x, 0.01 * x),
    "gelu": lambda x: 0.5 * x * (1.0 + erf(x * np.sqrt(0.5, dtype=x.dtype))),
    "silu": lambda x: x * expit(x),
}
"""Those of `networks`; each keeps single precision."""


class HostPolicy:
    """The policies of a batch of runs, as they are when it is made.

    Args:
        policy: arrays with the lanes in front.
        shape: of the program.
    """

    def __init__(self, policy: Policy, shape: OnPolicy) -> None:
        self._layers = [(np.asarray(kernel), np.asarray(bias)[:, None, :]) for kernel, bias in policy.pi]
        with np.errstate(over="ignore"):
            self._std = np.exp(np.asarray(policy.log_std))[:, None, :]
        self._active = ACTIVATIONS[shape.activation]
        self._space = shape.space
        self._parts = np.cumsum(shape.space.choices)[:-1]

    def act(self, observations: Numpy, drawn: Numpy) -> Numpy:
        """Return actions, as `on_policy.act`.

        Args:
            observations: Shape ``(lanes, n_envs, features)``.
            drawn: of `distributions.noise`, shape ``(lanes, n_envs, outputs)``.
        """
        with np.errstate(all="ignore"):  # numbers of a policy that has diverged
            outputs = self._outputs(observations)
            if not self._space.discrete:
                return np.asarray(outputs + self._std * drawn)
            parts = np.split(outputs + drawn, self._parts, axis=-1)
            return np.stack([part.argmax(axis=-1) for part in parts], axis=-1)

    def _outputs(self, x: Numpy) -> Numpy:
        for kernel, bias in self._layers[:-1]:
            x = self._active(np.matmul(x, kernel) + bias)
        kernel, bias = self._layers[-1]
        return np.asarray(np.matmul(x, kernel) + bias)
