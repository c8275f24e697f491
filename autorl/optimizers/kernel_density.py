"""The densities that BOHB draws from and compares (Falkner et al. 2018, section 4.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NARROWEST = 1e-3
"""Smallest bandwidth, so that equal values leave some room."""


class KernelDensity:
    """A kernel density over vectors of numbers in [0, 1] and of choices, a product of a kernel for each dimension.

    Numbers have a Gaussian kernel with bandwidth h = 1.06 σ n^(−1 / (4 + d)) (the normal reference rule). Choices,
    given as whole numbers from 0, have the kernel of Aitchison and Aitken: 1 − h on the value itself, h / (c − 1) on
    each of the c − 1 others, with σ² the probability that two draws differ and h at most (c − 1) / c, which is uniform.

    Args:
        data: shape (n, d).
        counts: how many values each dimension has, 0 for numbers, shape (d,).
    """

    def __init__(self, data: Array, counts: NDArray[np.int64]) -> None:
        self._data, self._counts = data, counts
        n, d = data.shape
        spread = np.std(data, axis=0)
        for column in np.flatnonzero(counts):
            shares = np.bincount(data[:, column].astype(int)) / n
            spread[column] = np.sqrt(max(0.0, 1 - np.sum(shares**2)))
        widest = np.where(counts > 0, 1 - 1 / np.maximum(counts, 1), np.inf)
        self.bandwidths: Array = np.minimum(np.maximum(1.06 * spread * n ** (-1 / (4 + d)), NARROWEST), widest)

    def log(self, places: Array) -> Array:
        """Return the logarithm of the density at places of shape (m, d), shape (m,)."""
        apart = places[:, None, :] - self._data[None, :, :]
        h, others = self.bandwidths, np.maximum(self._counts - 1, 1)
        number = -0.5 * (apart / np.where(h > 0, h, 1)) ** 2 - np.log(np.where(h > 0, h, 1) * np.sqrt(2 * np.pi))
        choice = np.where(apart == 0, np.log1p(-h), np.log(np.maximum(h / others, 1e-32)))
        kernels = np.where(self._counts > 0, choice, number).sum(axis=2)
        return np.asarray(np.logaddexp.reduce(kernels, axis=1) - np.log(len(self._data)))

    def draw(self, count: int, widen: float, rng: np.random.Generator) -> Array:
        """Draw places, shape (count, d), the numbers from Gaussian kernels cut off at 0 and 1.

        Args:
            count: how many.
            widen: what the bandwidths of numbers are multiplied by, to explore.
            rng: draws.
        """
        from scipy.special import ndtr, ndtri

        centers = self._data[rng.integers(len(self._data), size=count)]
        width = np.maximum(self.bandwidths * widen, NARROWEST)
        below, above = ndtr(-centers / width), ndtr((1 - centers) / width)
        numbers = centers + width * ndtri(below + rng.random(centers.shape) * (above - below))
        others = (centers + rng.integers(1, np.maximum(self._counts, 2), size=centers.shape)) % np.maximum(
            self._counts, 1
        )
        choices = np.where(rng.random(centers.shape) < self.bandwidths, others, centers)
        return np.where(self._counts > 0, choices, np.clip(numbers, 0, 1))
