"""Search spaces: parameters, the conditions under which they are active, and their transforms.

A parameter has two units. *Search coordinates* are what an optimizer moves in (`min`..`max`); the *value* is what
training uses, after the transform (`gamma: {min: 1e-4, max: 0.03, transform: one_minus}` searches 1 - gamma).
A `Configuration` carries both, so that a proposal read back from the ledger is the proposal that was made, to the bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from autorl.errors import AutorlError

Transform = Literal["one_minus", "power_of_two"]
Scalar = None | bool | int | float | str


@dataclass(frozen=True)
class Numeric:
    """A number between `low` and `high`, both included; whole when `integer`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False

    def contains(self, coordinate: Any) -> bool:
        """Say whether a coordinate lies in the range and, for integers, is whole."""
        if isinstance(coordinate, bool) or not isinstance(coordinate, int | float):
            return False
        if not self.low <= coordinate <= self.high:  # neither do nan and the infinities
            return False
        if self.integer and coordinate != int(coordinate):
            return False
        if self.step is None:
            return True
        steps = (coordinate - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=1e-8)


@dataclass(frozen=True)
class Choice:
    """One of several values, in no order. `labels` name them where only plain scalars are taken (Optuna, tables)."""

    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[Scalar, ...]:
        """The values themselves where they are scalars, their JSON otherwise."""
        return tuple(value if isinstance(value, Scalar) else json.dumps(value, sort_keys=True) for value in self.values)

    def label(self, value: Any) -> Scalar:
        """Return the label of a value.

        Raises:
            ValueError: it is not one of the choices.
        """
        for known, label in zip(self.values, self.labels, strict=True):
            if same(known, value):
                return label
        raise ValueError(f"{value!r} is not one of {list(self.values)}")

    def contains(self, coordinate: Any) -> bool:
        """Say whether this is the label of one of the choices."""
        return any(same(label, coordinate) for label in self.labels)


@dataclass(frozen=True)
class Prior:
    """Where a good coordinate of a range is believed to lie: a normal distribution on its scale, cut off at its ends.

    Attributes:
        mean: search coordinate believed best.
        std: standard deviation, in search coordinates; in decades (powers of ten) of them on a logarithmic scale.
    """

    mean: float
    std: float


@dataclass(frozen=True)
class Parameter:
    """One dimension of a search space.

    Attributes:
        name: its key in the file.
        domain: what an optimizer chooses from, in search coordinates.
        sets: the key it sets in training; its own name unless the file says otherwise.
        transform: how a coordinate becomes the value that is used.
        when: parent → values of it under which this parameter is active; all must hold.
        default: value in the default configuration, or None to leave that to the algorithm.
        description: what it does, for people.
        prior: where in its range good values are believed to lie, or None if all of it is as good.
    """

    name: str
    domain: Numeric | Choice
    sets: str
    transform: Transform | None = None
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    default: Any = None
    description: str = ""
    prior: Prior | None = None

    def value(self, coordinate: Any) -> Any:
        """Turn a search coordinate into the value that training uses."""
        if isinstance(self.domain, Choice):
            return next(
                v for v, label in zip(self.domain.values, self.domain.labels, strict=True) if same(label, coordinate)
            )
        if self.transform == "one_minus":
            return 1 - int(coordinate) if self.domain.integer else 1.0 - coordinate
        if self.transform == "power_of_two":
            return 2 ** int(coordinate)
        return int(coordinate) if self.domain.integer else float(coordinate)

    def coordinate(self, value: Any) -> Any:
        """Turn a value into its search coordinate, or None where no coordinate gives this value.

        None may be a coordinate, too: that of a null among the choices. `expresses` tells them apart.
        """
        if isinstance(self.domain, Choice):
            return self.domain.label(value) if self.expresses(value) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 2**63:
            return None
        found = inverse(self.transform, value)
        if self.domain.integer and math.isfinite(found) and found == int(found):
            found = int(found)
        if self.domain.contains(found):
            return found
        # 1 - (1 - x) may miss an end of the range by a rounding error.
        return next((end for end in (self.domain.low, self.domain.high) if self.value(end) == value), None)

    def expresses(self, value: Any) -> bool:
        """Say whether a coordinate gives this value."""
        if isinstance(self.domain, Choice):
            return any(same(known, value) for known in self.domain.values)
        return self.coordinate(value) is not None

    def active(self, values: Mapping[str, Any]) -> bool:
        """Say whether its conditions hold, given the values of its parents."""
        return all(
            parent in values and any(same(values[parent], allowed) for allowed in choices)
            for parent, choices in self.when
        )


@dataclass(frozen=True)
class Configuration:
    """One point of a search space, conditionals resolved.

    Attributes:
        values: parameter name → value as training uses it; inactive parameters are absent.
        coordinates: parameter name → search coordinate. A value that the space cannot express (a default outside the
            range) has none.
    """

    values: Mapping[str, Any]
    coordinates: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inside(self) -> bool:
        """Whether the space can express every value."""
        return set(self.values) == set(self.coordinates)


@dataclass(frozen=True)
class SearchSpace:
    """Parameters, parents before children. An empty space has one configuration: the default."""

    parameters: tuple[Parameter, ...] = ()

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(name)

    @property
    def parents(self) -> frozenset[str]:
        """Names of the parameters that the conditions of others refer to."""
        return frozenset(parent for parameter in self for parent, _ in parameter.when)

    def build(self, choose: Callable[[Parameter], Any]) -> Configuration:
        """Make a configuration by asking for the coordinate of each parameter that is active, parents first.

        Args:
            choose: returns a search coordinate of the parameter it is given.

        Raises:
            AutorlError: a coordinate is outside its parameter's domain.
        """
        values: dict[str, Any] = {}
        coordinates: dict[str, Any] = {}
        for parameter in self:
            if not parameter.active(values):
                continue
            coordinate = choose(parameter)
            if not parameter.domain.contains(coordinate):
                raise AutorlError(f"{parameter.name}: {coordinate!r} is outside {parameter.domain}")
            coordinates[parameter.name] = coordinate
            values[parameter.name] = parameter.value(coordinate)
        return Configuration(values, coordinates)

    def default(
        self, known: Callable[[str, Mapping[str, Any]], Any], given: Mapping[str, Any] | None = None
    ) -> Configuration:
        """Make the default configuration: each parameter at the file's `default`, or at the algorithm's own.

        Args:
            known: the algorithm's own default for a key (`Parameter.sets`), given the values so far, or None.
                Such a parameter is left out, so that training leaves it alone.
            given: parameter name → value that it has instead.
        """
        given = given or {}
        values: dict[str, Any] = {}
        coordinates: dict[str, Any] = {}
        for parameter in self:
            if not parameter.active(values):
                continue
            value = given.get(parameter.name, parameter.default)
            # A null that is given is meant where it is a choice; one that is a default is left to the algorithm.
            if value is None and not (parameter.name in given and parameter.expresses(None)):
                value = known(parameter.sets, values)
                if value is None:
                    continue
            values[parameter.name] = value
            if parameter.expresses(value):
                coordinates[parameter.name] = parameter.coordinate(value)
        return Configuration(values, coordinates)


def transformed(transform: Transform | None, coordinate: float) -> float:
    """Return what a transform makes of a number."""
    if transform == "one_minus":
        return 1 - coordinate
    return 2**coordinate if transform == "power_of_two" else coordinate


def inverse(transform: Transform | None, value: float) -> float:
    """Return the number that a transform turns into a value; nan if there is none."""
    if transform == "one_minus":
        return 1 - value
    if transform == "power_of_two":
        return math.log2(value) if value > 0 else math.nan
    return value


def same(a: Any, b: Any) -> bool:
    """Compare two values as YAML means them: `true` is not 1, but 1 and 1.0 are the same number."""
    return identity(a) == identity(b)


def identity(value: Any) -> Hashable:
    """Return what stands for a value in sets and comparisons: equal for two values that are `same`."""
    if isinstance(value, list | tuple):
        return ("list", *map(identity, value))
    if isinstance(value, Mapping):
        return ("mapping", frozenset((key, identity(inner)) for key, inner in value.items()))
    return (isinstance(value, bool), value)
