"""Population-based training (Jaderberg et al. 2017, arXiv 1711.09846)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pydantic import Field

from autorl.optimizers.population import CAVEAT, Member, Population, PopulationOptions, fork
from autorl.optimizers.positions import at, snap
from autorl.optimizers.protocol import Method, Question
from autorl.spec.space import Choice, Configuration, Numeric, Parameter

FACTORS: Final = (0.8, 1.2)
"""What a hyperparameter is multiplied by (section 4.1.1 of the paper, and Ray Tune)."""


class PBTOptions(PopulationOptions):
    """How forks explore."""

    resample: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Probability that a fork draws a parameter anew instead of perturbing its donor's value.",
    )


class PopulationBasedTraining(Population):
    """Population-based training: forks perturb what their donors train with.

    Perturbation multiplies the search coordinate, so that `gamma` searched as 1 - gamma moves on that scale, and stays
    inside the space. A whole number moves by one step at least, where rounding would hold it for ever.
    """

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self._resample: float = question.options.resample

    def learn(self, members: Sequence[Member]) -> None:
        """Learn nothing: forks explore at random."""

    def explore(self, donor: Member, rng: np.random.Generator) -> Configuration:
        """Perturb or resample each mutable parameter, independently."""

        def choose(parameter: Parameter, coordinate: Any) -> Any:
            if not parameter.domain.contains(coordinate) or rng.random() < self._resample:
                return at(parameter.domain, rng.random())
            return perturbed(parameter.domain, coordinate, FACTORS[int(rng.integers(len(FACTORS)))])

        return fork(self.question.space, donor.config, self.mutable, choose)


def perturbed(domain: Numeric | Choice, coordinate: Any, factor: float) -> Any:
    """Return a coordinate multiplied by a factor; a choice, which has no scale, stays."""
    if isinstance(domain, Choice):
        return coordinate
    moved = snap(domain, coordinate * factor)
    if moved == coordinate != coordinate * factor and (domain.integer or domain.step):
        step = domain.step or 1
        moved = snap(domain, coordinate + (step if coordinate * factor > coordinate else -step))
    return moved


PBT = Method(PopulationBasedTraining, PBTOptions, CAVEAT)
