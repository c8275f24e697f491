"""Configurations as vectors, for models and operators that work on numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autorl.spec.space import Choice, Configuration, Parameter, SearchSpace
from autorl.spec.unit import bin_of, from_unit, place

Vector = NDArray[np.float64]


class Encoding:
    """Maps a space to the unit cube and back.

    A number has one column: its place between `low` and `high`, on a logarithmic scale where the space has one; whole
    and stepped numbers lie in the middle of bins of equal width. A choice has one column of bins, or, `one_hot`, one
    column for each value (one for a choice of two). A parameter that is inactive lies at 0.5, which is nowhere in
    particular, in all its columns.

    Attributes:
        columns: how many there are.
        choices: which of them belong to choices, shape (columns,).
        groups: number of the parameter that each belongs to, shape (columns,).
    """

    def __init__(self, space: SearchSpace, one_hot: bool = False) -> None:
        self._space = space
        self._at: dict[str, slice] = {}
        choices: list[bool] = []
        groups: list[int] = []
        for parameter in space:
            domain = parameter.domain
            wide = one_hot and isinstance(domain, Choice) and len(domain.values) > 2
            count = len(domain.values) if wide and isinstance(domain, Choice) else 1
            self._at[parameter.name] = slice(len(choices), len(choices) + count)
            choices += [isinstance(domain, Choice)] * count
            groups += [len(self._at) - 1] * count
        self.columns = len(choices)
        self.choices = np.array(choices, dtype=bool)
        self.groups = np.array(groups, dtype=np.int64)

    def encode(self, config: Configuration) -> Vector:
        """Return a configuration's vector, shape (columns,), in [0, 1].

        A value that the space cannot express is put where it would be, at the nearest end of its range, or nowhere in
        particular.
        """
        vector = np.full(self.columns, 0.5)
        for parameter in self._space:
            if parameter.name in config.values:
                at = self._at[parameter.name]
                vector[at] = self._place(parameter, config, at.stop - at.start)
        return vector

    def _place(self, parameter: Parameter, config: Configuration, width: int) -> Vector | float:
        at = place(parameter, config)
        if at is None:
            return 0.5
        return np.eye(width)[bin_of(at, width)] if width > 1 else at

    def decode(self, vector: Vector) -> Configuration:
        """Return the configuration at a vector, or nearest to it; every vector has one."""

        def choose(parameter: Parameter) -> Any:
            domain, part = parameter.domain, np.clip(vector[self._at[parameter.name]], 0.0, 1.0)
            if isinstance(domain, Choice) and len(part) > 1:
                return domain.labels[int(np.argmax(part))]
            return from_unit(domain, float(part[0]))

        return self._space.build(choose)
