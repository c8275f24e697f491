"""Multilayer perceptrons, initialized as torch and Stable-Baselines3 initialize theirs.

A network is a tuple of layers, and a layer a pair of a kernel of shape (inputs, outputs) and a bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

Array = jax.Array
Layer = tuple[Array, Array]
Network = tuple[Layer, ...]

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "leaky_relu": lambda x: jnp.where(x > 0.0, x, 0.01 * x),  # its slope at 0 is torch's
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
}


def orthogonal(key: Array, sizes: Sequence[int], gain: float) -> Network:
    """Return a network with orthogonal kernels and biases of zero, SB3's `ActorCriticPolicy.init_weights`.

    Args:
        key: source of the randomness.
        sizes: inputs, hidden layers, outputs.
        gain: of the last layer; the others have the square root of 2.
    """
    gains = [math.sqrt(2.0)] * (len(sizes) - 2) + [gain]
    keys = jax.random.split(key, len(gains))
    return tuple(
        (scale * _orthonormal(k, before, after), jnp.zeros(after))
        for k, before, after, scale in zip(keys, sizes, sizes[1:], gains, strict=False)
    )


def _orthonormal(key: Array, rows: int, columns: int) -> Array:
    """Return a matrix whose columns, or rows if they are fewer, are orthonormal, uniform among all such.

    Gram-Schmidt, each vector twice: orthogonal to rounding (Giraud et al. 2005, "The loss of orthogonality in the
    Gram-Schmidt orthogonalization process"). But for rounding it is what `jax.nn.initializers.orthogonal` makes of the
    key. That calls LAPACK's QR, and on several cores batches of those wait for each other forever, for want of threads.
    """
    tall = jax.random.normal(key, (max(rows, columns), min(rows, columns)))

    def step(index: Array, basis: Array) -> Array:
        vector = tall[:, index]
        for _ in range(2):
            vector = vector - basis @ (basis.T @ vector)
        return basis.at[:, index].set(vector / jnp.linalg.norm(vector))

    basis: Array = jax.lax.fori_loop(0, tall.shape[1], step, jnp.zeros_like(tall))
    return basis if rows >= columns else basis.T


def uniform(key: Array, sizes: Sequence[int]) -> Network:
    """Return a network as `torch.nn.Linear` initializes its layers: all from U(-1, 1) / sqrt(inputs).

    Args:
        key: source of the randomness.
        sizes: inputs, hidden layers, outputs.
    """
    network = []
    for k, before, after in zip(jax.random.split(key, len(sizes) - 1), sizes, sizes[1:], strict=False):
        of_kernel, of_bias = jax.random.split(k)
        bound = 1.0 / math.sqrt(before)
        kernel = jax.random.uniform(of_kernel, (before, after), minval=-bound, maxval=bound)
        network.append((kernel, jax.random.uniform(of_bias, (after,), minval=-bound, maxval=bound)))
    return tuple(network)


def apply(network: Network, x: Array, activation: str, *, end: Literal["linear", "active"] = "linear") -> Array:
    """Return a network's outputs.

    Args:
        network: its layers.
        x: Shape ``(..., inputs)``.
        activation: key of `ACTIVATIONS`.
        end: whether the last layer is followed by the activation too.
    """
    active = ACTIVATIONS[activation]
    for index, (kernel, bias) in enumerate(network):
        x = _times(x, kernel) + bias
        if index < len(network) - 1 or end == "active":
            x = active(x)
    return x


@jax.custom_vjp
def _times(x: Array, kernel: Array) -> Array:
    """Return x @ kernel; what differs from JAX's own is how fast the kernel's gradient is on a CPU.

    The product of a transposed matrix is slow there, most of all if the other one is narrow. XLA would undo what is
    done about it without the barriers.
    """
    return x @ kernel


def _times_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ kernel, (x, kernel)


def _times_backward(inputs: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = inputs
    before, after = kernel.shape
    rows, columns = x.reshape(-1, before), gradient.reshape(-1, after)
    if after < before:
        return gradient @ kernel.T, _as_it_is(columns.T @ rows).T
    return gradient @ kernel.T, _as_it_is(rows.T) @ columns


def _as_it_is(array: Array) -> Array:
    kept: Array = jax.lax.optimization_barrier(array)  # type: ignore[no-untyped-call]
    return kept


_times.defvjp(_times_forward, _times_backward)


def clip_by_global_norm(gradients: object, largest: Array | float) -> object:
    """Scale gradients as `torch.nn.utils.clip_grad_norm_`: by largest / (norm + 1e-6), if that is below 1."""
    norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradients)))
    scale = jnp.minimum(1.0, largest / (norm + 1e-6))
    return jax.tree.map(lambda leaf: leaf * scale, gradients)


def polyak(target: Any, source: Any, tau: Array | float) -> Any:
    """Return (1 - tau) target + tau source."""
    return jax.tree.map(lambda old, new: (1.0 - tau) * old + tau * new, target, source)
