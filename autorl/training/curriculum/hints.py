"""Kinds that give away the beginning of a solution. Know nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from autorl.training.curriculum.fixed import TargetOnly
from autorl.training.curriculum.space import TaskSpace


class Guidance(TargetOnly):
    """Kind `guidance`: hints for problems of the target that no completion of a group solves.

    Adaptive guidance (Liu et al. 2025, GHPO, arXiv 2507.10628): a problem is difficult if all rewards of its group are
    0, and is then asked again with a share ω of its solution. Of n stages, stage j has ω = j / (n + 1): a quarter, a
    half and three quarters for the paper's three. As in the authors' trainer (github.com/hkgc-1/GHPO), the stages
    follow one another at once, as long as all rewards are 0, and all that they write counts. The paper's hints for all
    problems of the first steps, until the format is known, are left out: models are warmed up.

    Args:
        space: what to choose from.
        rng: its generator.
        stages: n.
    """

    def __init__(self, space: TaskSpace, rng: np.random.Generator, stages: int) -> None:
        super().__init__(space, rng)
        self.shares = [stage / (stages + 1) for stage in range(1, stages + 1)]


class ItemResponse(TargetOnly):
    """Kind `item_response`: hints to problems of the target, as long as makes them half as hard.

    Capability-adaptive hints (Li et al. 2025, SEELE, arXiv 2509.06923). A problem's completions are written in rounds.
    How likely one is right with a share h of the solution is a model of three parameters from item response theory,
    P(h) = c + (1 − c) / (1 + exp(−a (h − b))), fitted to what the rounds before gave. The next round gets the hint of
    which it expects P(h) = aim, h = b + ln((aim − c) / (1 − aim)) / a. Advantages are over all rounds of a problem.

    A few completions do not tell three parameters. The fit is the most likely one of a grid, with a normal prior on b
    around the mean of the problems before: from there the first round begins.

    Args:
        space: what to choose from.
        rng: its generator.
        rounds: of each problem.
        aim: share of right completions, the paper's a*: 0.5, where its bound on what is learned is highest.
    """

    kept = ("usual",)
    shown = ("usual",)
    most: ClassVar[float] = 0.95
    """The longest hint."""
    spread: ClassVar[float] = 0.3
    """Standard deviation of the prior."""
    rate: ClassVar[float] = 0.05
    """How fast its mean follows the problems."""

    def __init__(self, space: TaskSpace, rng: np.random.Generator, rounds: int, aim: float) -> None:
        super().__init__(space, rng)
        self.rounds, self.aim = rounds, aim
        self.usual = 0.5
        axes = np.meshgrid([4.0, 8.0, 16.0, 32.0], np.linspace(-0.5, 1.5, 41), [0.0, 0.2], indexing="ij")
        self.grid = np.stack([axis.ravel() for axis in axes], axis=1)

    def fitted(self, hints: np.ndarray, right: np.ndarray, counts: Sequence[int]) -> np.ndarray:
        """Return a, b and c of each problem (shape: problems, 3).

        Args:
            hints: in each of the rounds so far (shape: problems, rounds).
            right: how many completions of each were right (shape: problems, rounds).
            counts: of how many in each round.
        """
        a, b, c = self.grid.T
        score = np.tile(-(((b - self.usual) / self.spread) ** 2) / 2, (len(hints), 1))
        for hint, good, count in zip(hints.T, right.T, counts, strict=True):
            p = np.clip(response(hint[:, None], a, b, c), 1e-9, 1 - 1e-9)
            score += good[:, None] * np.log(p) + (count - good[:, None]) * np.log1p(-p)
        found: np.ndarray = self.grid[score.argmax(axis=1)]
        return found

    def hints(self, fits: np.ndarray) -> np.ndarray:
        """Return the share of each solution with which a problem is as easy as is aimed at, as far as one can be.

        Args:
            fits: a, b and c of each problem (shape: problems, 3).
        """
        a, b, c = fits.T
        found: np.ndarray = np.clip(b + np.log((self.aim - c) / (1 - self.aim)) / a, 0.0, self.most)
        return found

    def known(self, fits: np.ndarray) -> None:
        """Remember how difficult problems were; see `hints`."""
        for b in fits[:, 1].tolist():
            self.usual += self.rate * (b - self.usual)


def response(hint: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return P(h) = c + (1 − c) / (1 + exp(−a (h − b)))."""
    found: np.ndarray = c + (1 - c) / (1 + np.exp(-a * (hint - b)))
    return found
