"""Kind `middle_difficulty`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import numpy as np

from autorl.training.curriculum.fixed import Uniform
from autorl.training.curriculum.space import TaskSpace


class MiddleDifficulty(Uniform):
    """Problems that the model solves about every other time, as far as a value model can tell.

    Prompt Curriculum Learning (Gao et al. 2025, PCL, arXiv 2510.01135). Of k · m candidates drawn uniformly, the m with
    the smallest |V(x) − τ| are trained on. Then V, which expects the share of right completions of a prompt, takes a
    step down (V(x) − that share of x's completions)², mean over the batch. V belongs to the engine that has the model.

    Args:
        space: what to choose from.
        rng: its generator.
        candidates: k.
        middle: τ.
        value_rate: learning rate of V.
    """

    def __init__(
        self, space: TaskSpace, rng: np.random.Generator, candidates: int, middle: float, value_rate: float
    ) -> None:
        super().__init__(space, rng)
        self.candidates, self.middle, self.value_rate = candidates, middle, value_rate

    def nearest(self, values: np.ndarray, count: int) -> list[int]:
        """Return which candidates are trained on, in their order.

        Args:
            values: what V expects of each candidate (shape: candidates).
            count: how many of them, m.
        """
        return sorted(np.argsort(np.abs(values - self.middle), kind="stable")[:count].tolist())
