"""Grid search: every combination of the values of each parameter, in random order."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from autorl.optimizers.protocol import Question
from autorl.optimizers.seeds import SeedsOptions, tuned_seeds
from autorl.spec.section import Whole
from autorl.spec.space import Choice, Configuration, Parameter, SearchSpace, identity
from autorl.trial import Proposal, Standing, TrialResult


class GridOptions(SeedsOptions):
    """On how many seeds configurations are tuned, and how fine the grid is."""

    points: Whole = Field(
        default=5, ge=2, description="Values of a continuous range: its ends, and between them evenly on its scale."
    )


class Axis:
    """The search coordinates of one parameter that are on the grid, in order.

    Args:
        parameter: the parameter: choices, whole numbers and steps are taken as they are.
        points: how many a continuous range gets.
    """

    def __init__(self, parameter: Parameter, points: int) -> None:
        self._domain = domain = parameter.domain
        self._points = points
        if isinstance(domain, Choice):
            self._size = len(domain.labels)
        elif step := domain.step or domain.integer:
            self._size = round((domain.high - domain.low) / step) + 1
        else:
            self._size = points

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(self._size))

    def __getitem__(self, index: int) -> Any:
        domain = self._domain
        if isinstance(domain, Choice):
            return domain.labels[index]
        if domain.integer:
            return int(domain.low) + index * int(domain.step or 1)
        if index in (0, self._size - 1):
            return float((domain.low, domain.high)[index > 0])
        share = index / (self._size - 1)
        if domain.log:
            found = domain.low * (domain.high / domain.low) ** share
        else:
            found = domain.low + share * (domain.high - domain.low)
        # As people write it: 0.3 rather than 3 times 0.1, and 0.001 rather than what the power gives.
        return float(f"{found:.12g}")


class GridOf:
    """The configurations of a space that are on a grid, numbered without listing them.

    A parameter that is not active is left out; so combinations that differ only in what is not used are one.
    """

    def __init__(self, space: SearchSpace, points: int) -> None:
        self._axes = [(parameter, Axis(parameter, points)) for parameter in space]
        # What decides about the parameters from each position on.
        self._parents = [
            sorted({parent for parameter, _ in self._axes[position:] for parent, _ in parameter.when})
            for position in range(len(self._axes) + 1)
        ]
        self._sizes: dict[Hashable, int] = {}
        self.size = self._below(0, {})

    def __getitem__(self, index: int) -> Configuration:
        values: dict[str, Any] = {}
        coordinates: dict[str, Any] = {}
        for position, (parameter, axis) in enumerate(self._axes):
            if not parameter.active(values):
                continue
            name, after = parameter.name, position + 1
            if name in self._parents[after]:
                for coordinate in axis:
                    below = self._below(after, {**values, name: parameter.value(coordinate)})
                    if index < below:
                        break
                    index -= below
            else:
                place, index = divmod(index, self._below(after, values))
                coordinate = axis[place]
            coordinates[name] = coordinate
            values[name] = parameter.value(coordinate)
        return Configuration(values, coordinates)

    def _below(self, position: int, values: Mapping[str, Any]) -> int:
        """Count the combinations of the parameters from a position on, given the values of those before it."""
        known = tuple((name, identity(values[name])) for name in self._parents[position] if name in values)
        if (position, known) not in self._sizes:
            self._sizes[position, known] = self._count(position, values)
        return self._sizes[position, known]

    def _count(self, position: int, values: Mapping[str, Any]) -> int:
        size = 1
        for after, (parameter, axis) in enumerate(self._axes[position:], position + 1):
            if not parameter.active(values):
                continue
            if parameter.name in self._parents[after]:
                branches = (self._below(after, {**values, parameter.name: parameter.value(c)}) for c in axis)
                return size * sum(branches)
            size *= len(axis)
        return size


class Grid:
    """Grid search: every combination of choices, whole numbers, steps and points of continuous ranges, once.

    Combinations come in random order, so that a budget that ends early has seen some of everything. Those that were
    trained for another reason (the default configuration, enqueued ones) are not proposed again.
    """

    def __init__(self, question: Question) -> None:
        self.reads: Literal["nothing", "values", "curves"] = "nothing"
        self._question = question
        self._seeds = tuned_seeds(question, question.options)
        self._grid = GridOf(question.space, question.options.points)
        self._taken: set[Hashable] = set()
        self._trials = 0

    def ask(self, number: int) -> Proposal | None:
        """Propose the first combination not yet taken from a random one on, or None if there is none."""
        size = self._grid.size
        start = int.from_bytes(np.random.default_rng(self._question.draw(number)).bytes(16))
        for offset in range(min(size, len(self._taken) + 1)):
            config = self._grid[(start + offset) % size]
            if _key(config) not in self._taken:
                return Proposal(self._trials, config, self._seeds, self._question.until)
        return None

    def take(self, number: int, proposal: Proposal) -> None:
        """Take note of a combination."""
        self._taken.add(_key(proposal.config))
        self._trials += 1

    def tell(self, number: int, result: TrialResult) -> None:
        """Learn nothing."""

    def needed(self) -> Collection[int]:
        """Return none: runs are trained to the end at once."""
        return ()

    def ranking(self) -> Sequence[Standing]:
        """Return none: values decide."""
        return ()


def _key(config: Configuration) -> Hashable:
    return frozenset((name, identity(value)) for name, value in config.values.items())
