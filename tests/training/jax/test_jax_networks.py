"""Networks in JAX have torch's activations, slopes included, its clipping of gradients, and begin orthogonal."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from autorl.training.jax import networks

ACTIVATIONS: dict[str, nn.Module] = {
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(),
    "elu": nn.ELU(),
    "leaky_relu": nn.LeakyReLU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
}


def test_every_activation_is_compared() -> None:
    assert set(ACTIVATIONS) == set(networks.ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torchs(name: str) -> None:
    x = np.linspace(-4.0, 4.0, 81, dtype=np.float32)
    x[40] = 0.0  # what a layer puts out where observations and biases are zero
    tensor = torch.tensor(x, requires_grad=True)
    out = ACTIVATIONS[name](tensor)
    out.sum().backward()
    assert np.allclose(networks.ACTIVATIONS[name](jnp.asarray(x)), out.detach(), atol=1e-6)
    assert np.allclose(jax.vmap(jax.grad(networks.ACTIVATIONS[name]))(x), tensor.grad, atol=1e-6)


@pytest.mark.parametrize("largest", [0.1, 2.0, 100.0])
def test_gradients_are_clipped_as_torchs(largest: float) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3), (3,), (0,))]
    parameters = [torch.zeros(g.shape) for g in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    torch.nn.utils.clip_grad_norm_(parameters, largest)
    for ours, parameter in zip(networks.clip_by_global_norm(gradients, largest), parameters, strict=True):
        assert np.allclose(ours, parameter.grad, atol=1e-6)


@pytest.mark.parametrize("sizes", [(4, 64, 2), (64, 8, 64), (3, 300)])
def test_orthogonal_kernels_are_those_of_jaxs_own_initializer(sizes: tuple[int, ...]) -> None:
    key = jax.random.key(0)
    network = networks.orthogonal(key, sizes, 0.01)
    gains = [*[2.0**0.5] * (len(sizes) - 2), 0.01]
    for (kernel, bias), gain, each in zip(network, gains, jax.random.split(key, len(gains)), strict=True):
        expected = jax.nn.initializers.orthogonal(gain)(each, kernel.shape, jnp.float32)
        assert np.allclose(kernel, expected, atol=1e-6)
        thin = np.asarray(kernel if kernel.shape[0] >= kernel.shape[1] else kernel.T) / gain
        assert np.allclose(thin.T @ thin, np.eye(thin.shape[1]), atol=1e-6)
        assert not bias.any()


MANY = """\
import jax
from autorl.training.jax import networks

jax.config.update("jax_cpu_enable_async_dispatch", False)
many = jax.jit(jax.vmap(lambda key: [networks.orthogonal(k, (4, 64, 64, 2), 1.0) for k in jax.random.split(key)]))
for number in range(300):
    jax.block_until_ready(many(jax.random.split(jax.random.key(number), 6)))
"""


def test_networks_that_are_made_at_once_do_not_wait_for_each_other() -> None:
    # In a process of its own, since there it would wait forever: with LAPACK's QR it did, within a hundred calls.
    subprocess.run([sys.executable, "-c", MANY], check=True, timeout=600)


@pytest.mark.parametrize("sizes", [(4, 64, 2), (64, 8, 64), (3, 1)])
@pytest.mark.parametrize("leading", [(5,), (6, 5), ()])
def test_gradients_are_jaxs_own(sizes: tuple[int, ...], leading: tuple[int, ...]) -> None:
    network = networks.uniform(jax.random.PRNGKey(0), sizes)
    x = jax.random.normal(jax.random.PRNGKey(1), (*leading, sizes[0]))

    def plainly(network: networks.Network, x: jax.Array) -> jax.Array:
        for index, (kernel, bias) in enumerate(network):
            x = x @ kernel + bias
            x = jnp.tanh(x) if index < len(network) - 1 else x
        return jnp.sum(x**2)

    def ours(network: networks.Network, x: jax.Array) -> jax.Array:
        return jnp.sum(networks.apply(network, x, "tanh") ** 2)

    found, expected = (jax.jit(jax.grad(f, argnums=(0, 1)))(network, x) for f in (ours, plainly))
    for own, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6)
