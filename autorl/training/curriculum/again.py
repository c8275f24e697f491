"""Kind `again`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from autorl.training.curriculum.alp_gmm import AlpGmm
from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Task


class Again(AlpGmm):
    """ALP-GMM that also trains where an earlier run found progress (AGAIN, Portelas et al. 2020, arXiv 2011.08463).

    The paper's AGAIN goes once more through the niches of an earlier student, in their order, beside an ALP-GMM of its
    own. Of its three ways to go on from one niche to the next, this is the one by time (AGAIN-T): at a share t of the
    run and of n phases, phase ⌊t n⌋.

    After the last phase its niches stay as they are, where the authors' code lets them fade with the new student's own
    progress. The paper's niches are the earlier mixtures themselves, without the Gaussians of little progress, and one
    Gaussian out of both mixtures is chosen in proportion to its progress. What is left of earlier runs here is the
    progress of the parts of each axis (`autorl.analysis.lessons.niches`). So a niche is a product: of each axis a part
    is drawn in proportion to its weight, independently of the other axes, and the place in it uniformly. And since a
    part's progress over a phase and a Gaussian's over episodes do not compare, a fixed share of the tasks, `prior`, is
    of niches. The others are `alp_gmm`'s, its exploration included; without niches all are.

    Args:
        space: what to choose from.
        rng: its generator.
        fit_every: see `AlpGmm`.
        window: see `AlpGmm`.
        max_components: see `AlpGmm`.
        exploration: see `AlpGmm`; a share of what is not of niches.
        prior: share of the tasks that are of niches.
        niches: parameter → phases of the run, as many for each → weights of equal parts of its axis; where all are 0,
            they are alike.
    """

    def __init__(
        self,
        space: TaskSpace,
        rng: np.random.Generator,
        fit_every: int,
        window: int,
        max_components: int,
        exploration: float,
        prior: float,
        niches: Mapping[str, Sequence[Sequence[float]]] | None,
    ) -> None:
        super().__init__(space, rng, fit_every, window, max_components, exploration)
        self.prior = prior
        axes = [niches[name] for name in space.parameters] if niches else []
        # Phase → axis → the weights added up.
        self._niches = [
            [list(accumulate(weights if any(weights) else [1.0] * len(weights))) for weights in phase]
            for phase in zip(*axes, strict=True)
        ]

    def ask(self, progress: float) -> Task:
        """Draw a task from the niche of this phase, or as `alp_gmm` does; see `Teacher.ask`."""
        if not self._niches or self.rng.random() >= self.prior:
            return super().ask(progress)
        vector = []
        for up_to in self._niches[min(int(progress * len(self._niches)), len(self._niches) - 1)]:
            part = min(bisect_right(up_to, self.rng.random() * up_to[-1]), len(up_to) - 1)
            vector.append((part + self.rng.random()) / len(up_to))
        return Task(tuple(vector))
