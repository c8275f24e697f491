"""Gaussian processes over what changes as training goes on.

The kernel of a moment t, numbers x and labels h (Bogunovic et al. 2016, as PB2 uses it: Parker-Holder et al. 2020,
arXiv 2002.02518, section 4; with labels as in Wan et al. 2022, arXiv 2207.09405, section 3):

    k = v · (1 - ε)^(|t - t'| / 2) · m,    m = k_x without labels, else (k_x + k_h) / 4 + k_x k_h / 2,
    k_x = exp(-|x - x'|² / l),    k_h = exp(-w · fraction of labels that differ)

Its parameters v, l, ε, w and the variance of the noise maximize the marginal likelihood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

Array = NDArray[np.float64]

START: Final = np.log([1.0, 1.0, 0.1, 1.0, 0.1])
"""Where the search for v, l, ε, w and the noise starts, as logarithms."""
BOUNDS: Final = np.log([(1e-5, 1e5), (1e-5, 1e5), (1e-5, 0.5), (1e-2, 1e2), (1e-4, 1.0)])
JITTER: Final = 1e-10


@dataclass(frozen=True)
class TimeVaryingGP:
    """A fitted process.

    Attributes:
        x: what it was fitted to, (n, 1 + numbers + labels): the moment, numbers, and labels by their index.
        labels: how many of the last columns are labels.
        theta: logarithms of v, l, ε, w and the variance of the noise.
        factor: lower Cholesky factor of the covariance, (n, n).
        weights: covariance⁻¹ y, (n,).
    """

    x: Array
    labels: int
    theta: Array
    factor: Array
    weights: Array

    @classmethod
    def fit(cls, x: Array, y: Array, labels: int = 0, noisy: bool = False) -> TimeVaryingGP:
        """Fit to values y of mean zero, shape (n,); without noise it passes through all of them."""
        time, space, other = _distances(x, x, labels)
        free = np.array([True, True, True, labels > 0, noisy])
        theta = START.copy()

        def loss(found: Array) -> tuple[float, Array]:
            theta[free] = found
            gram, gradient = _kernel(theta, time, space, other, gradient=True)
            noise = np.exp(theta[4]) if noisy else 0.0
            try:
                factor = cholesky(_with_diagonal(gram, noise + JITTER), lower=True, check_finite=False)
            except np.linalg.LinAlgError:
                return np.inf, np.zeros_like(found)
            weights = cho_solve((factor, True), y, check_finite=False)
            inverse = np.tril(dpotri(factor, lower=True)[0])
            inner = np.outer(weights, weights) - inverse - np.tril(inverse, -1).T
            slopes = np.array([*(np.vdot(inner, g) for g in gradient), noise * np.trace(inner)]) / 2
            value = -0.5 * y @ weights - np.log(np.diag(factor)).sum() - len(y) / 2 * np.log(2 * np.pi)
            return -float(value), -slopes[free]

        theta[free] = minimize(loss, START[free], method="L-BFGS-B", jac=True, bounds=BOUNDS[free]).x
        gram, _ = _kernel(theta, time, space, other)
        factor = _factor(gram, np.exp(theta[4]) if noisy else 0.0)
        return cls(x, labels, theta, factor, cho_solve((factor, True), y, check_finite=False))

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return mean and variance (without noise) at some rows, (m,) each."""
        cross, _ = _kernel(self.theta, *_distances(x, self.x, self.labels))
        explained = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
        variance = np.exp(self.theta[0]) - (explained**2).sum(axis=0)
        return cross @ self.weights, np.maximum(variance, 0.0)


def climb(function: Callable[[Array], Array], start: Array, low: Any, high: Any) -> tuple[Array, float]:
    """Climb from a point to a local maximum within bounds, at most 200 evaluations away.

    Args:
        function: takes rows, (m, d), and returns their values, (m,).
        start: (d,).
        low: lower bounds.
        high: upper bounds.

    Returns:
        The maximum's place, (d,), and its value.
    """
    low, high = np.broadcast_to(low, start.shape), np.broadcast_to(high, start.shape)

    def loss(x: Array) -> tuple[float, Array]:
        steps = np.where(x + 1e-8 > high, -1e-8, 1e-8)
        values = function(np.vstack([x, x + np.diag(steps)]))
        return -float(values[0]), -(values[1:] - values[0]) / steps

    options = {"maxfun": 1 + 200 // (len(start) + 1)}
    found = minimize(
        loss, start, method="L-BFGS-B", jac=True, bounds=list(zip(low, high, strict=True)), options=options
    )
    return np.clip(found.x, low, high), -float(found.fun)


def _distances(a: Array, b: Array, labels: int) -> tuple[Array, Array, Array | None]:
    end = a.shape[1] - labels
    time = np.abs(a[:, None, 0] - b[None, :, 0])
    space = ((a[:, None, 1:end] - b[None, :, 1:end]) ** 2).sum(axis=2)
    return time, space, (a[:, None, end:] != b[None, :, end:]).mean(axis=2) if labels else None


def _kernel(
    theta: Array, time: Array, space: Array, other: Array | None, gradient: bool = False
) -> tuple[Array, list[Array]]:
    """Return the covariance, and if asked its derivatives by the logarithms of v, l, ε and w."""
    scale, length, forget, weight = np.exp(theta[:4])
    decay = scale * (1 - forget) ** (time / 2)
    near = np.exp(-space / length)
    alike = np.ones_like(near) if other is None else np.exp(-weight * other)
    mixed = near if other is None else (near + alike) / 4 + near * alike / 2
    gram = decay * mixed
    if not gradient:
        return gram, []
    by_near = decay if other is None else decay * (0.25 + alike / 2)
    by_weight = np.zeros_like(gram) if other is None else -decay * (0.25 + near / 2) * alike * weight * other
    return gram, [gram, by_near * near * space / length, -gram * time / 2 * forget / (1 - forget), by_weight]


def _with_diagonal(gram: Array, addition: float) -> Array:
    found = gram.copy()
    found[np.diag_indices_from(found)] += addition
    return found


def _factor(gram: Array, noise: float) -> Array:
    """Return the Cholesky factor with as little on the diagonal as it takes."""
    jitter = JITTER
    while True:
        try:
            return np.asarray(cholesky(_with_diagonal(gram, noise + jitter), lower=True, check_finite=False))
        except np.linalg.LinAlgError:
            jitter *= 10
