"""A table of training results, its configurations as a search space sees them, and a search space made from it."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autorl.errors import AutorlError
from autorl.spec.space import Choice, Configuration, Parameter, SearchSpace, identity, same

# Searched on a logarithmic scale in the published landscapes (ARLBench, Becktepe et al. 2024).
LOG_SCALED = frozenset({"learning_rate", "buffer_epsilon", "reward_scale"})
_MAX_CHOICES = 3


@dataclass(frozen=True, eq=False)
class Table:
    """Training results.

    Attributes:
        returns: configuration × seed × evaluation, evenly spaced to the end of training; NaN where a run failed.
        configs: of each configuration, hyperparameter → value.
    """

    returns: NDArray[np.float64]
    configs: tuple[Mapping[str, Any], ...]

    @property
    def seeds(self) -> int:
        """How many seeds each configuration was trained with: 0 to one less."""
        return int(self.returns.shape[1])

    @property
    def points(self) -> int:
        """How many evaluations each run has."""
        return int(self.returns.shape[2])

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.configs[0])

    def find(self, hyperparameters: Mapping[str, Any]) -> int:
        """Return the first configuration that has these values, whatever its others are.

        Raises:
            AutorlError: there is none.
        """
        for index, config in enumerate(self.configs):
            if all(key in config and same(config[key], value) for key, value in hyperparameters.items()):
                return index
        raise AutorlError(f"the table has no configuration with {json.dumps(dict(hyperparameters))}")


def load_table(path: Path) -> Table:
    """Read a table; one that was read before and has not changed is not read again.

    Raises:
        AutorlError: there is no such file, or it is no table.
    """
    try:
        found = path.stat()
        return _read(path, (found.st_mtime_ns, found.st_size))
    except OSError as error:
        raise AutorlError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file may fail anywhere in zipfile, NumPy and json
        raise AutorlError(f"{path} is no table of results: {error}") from error


@lru_cache(maxsize=16)
def _read(path: Path, _changed: tuple[int, int]) -> Table:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is not in NumPy's .npz format")
    with np.load(path, allow_pickle=False) as file:
        if not {"returns", "configs"} <= set(file.files):
            raise ValueError("it needs the arrays 'returns' and 'configs'")
        returns, configs = file["returns"], json.loads(str(file["configs"]))
    if returns.ndim != 3 or 0 in returns.shape or returns.dtype.kind not in "fiu":
        raise ValueError("'returns' must hold numbers: configuration × seed × evaluation")
    if not isinstance(configs, list) or not all(isinstance(config, dict) for config in configs):
        raise ValueError("'configs' must be a JSON list of mappings")
    if len(configs) != len(returns):
        raise ValueError(f"'returns' has {len(returns)} configurations, 'configs' has {len(configs)}")
    if any(config.keys() != configs[0].keys() for config in configs):
        raise ValueError("all of 'configs' must have the same hyperparameters")
    exact = tuple({name: _exact(value) for name, value in config.items()} for config in configs)
    return Table(returns.astype(np.float64), exact)


def _exact(value: Any) -> Any:
    """Undo what a scale and back has done to a whole number: 2879.9999999999995 was 2880."""
    whole = round(value) if isinstance(value, float) and 1 < abs(value) < 2**53 else 0
    return float(whole) if whole and math.isclose(value, whole, rel_tol=1e-12) else value


class Rows:
    """The configurations of a table as a search space sees them: those that a study can train.

    Only the hyperparameters that the space searches tell rows apart: of several that agree on these, the first in the
    table stands for all. Values outside the space's ranges are values all the same, without a coordinate.

    Args:
        table: the table.
        space: the search space.
        fixed: values that a row must have.

    Raises:
        AutorlError: no row has them.
    """

    def __init__(self, table: Table, space: SearchSpace, fixed: Mapping[str, Any]) -> None:
        table.find(fixed)
        self._scales = [_Scale(parameter) for parameter in space]
        found: dict[Hashable, Configuration] = {}
        for row in table.configs:
            if all(same(row[key], value) for key, value in fixed.items()):
                config = _configuration(space, row)
                found.setdefault(_key(config), config)
        self._configs = list(found.values())
        self._keys = list(found)
        self._places = np.array([self._place(config) for config in self._configs])
        self._choices = np.array([isinstance(parameter.domain, Choice) for parameter in space], dtype=bool)

    def nearest(self, config: Configuration, taken: Collection[Configuration]) -> Configuration:
        """Return the nearest row that is not taken, or the nearest if all are; the first in the table of equally near.

        The distance is Euclidean over the parameters: the difference of coordinates in units of the range, or of its
        logarithm where the space says so; 1 for another choice, and for a parameter that only one of the two has.
        """
        place = self._place(config)
        one, both = np.isnan(self._places) != np.isnan(place), np.isnan(self._places) & np.isnan(place)
        apart = np.abs(self._places - place)
        apart = np.where(self._choices, apart > 0, apart)
        apart[one], apart[both] = 1.0, 0.0
        order = np.argsort(np.square(apart).sum(axis=1), kind="stable")
        gone = {_key(other) for other in taken}
        index: int = next((index for index in order if self._keys[index] not in gone), order[0])
        return self._configs[index]

    def _place(self, config: Configuration) -> list[float]:
        return [scale.place(config.values) for scale in self._scales]


class _Scale:
    """Where the values of a parameter lie: in units of its range, or as the number of a choice."""

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter
        values = parameter.domain.values if isinstance(parameter.domain, Choice) else ()
        self._numbers = {identity(value): float(index) for index, value in enumerate(values)}

    def place(self, values: Mapping[str, Any]) -> float:
        """Return the place of this parameter's value; NaN if it has none, or none that the scale can hold."""
        if self._parameter.name not in values:
            return math.nan
        value, domain = values[self._parameter.name], self._parameter.domain
        if isinstance(domain, Choice):
            return self._numbers.setdefault(identity(value), float(len(self._numbers)))
        if not _numeric(value):
            return math.nan
        number = float(value)
        if self._parameter.transform == "one_minus":
            number = 1 - number
        elif self._parameter.transform == "power_of_two":
            number = math.log2(number) if number > 0 else math.nan
        if not domain.log:
            return (number - domain.low) / (domain.high - domain.low)
        return math.log(number / domain.low) / math.log(domain.high / domain.low) if number > 0 else math.nan


def _configuration(space: SearchSpace, row: Mapping[str, Any]) -> Configuration:
    values: dict[str, Any] = {}
    coordinates: dict[str, Any] = {}
    for parameter in space:
        if parameter.sets not in row or not parameter.active(values):
            continue
        value = row[parameter.sets]
        if parameter.expresses(value):
            coordinates[parameter.name] = coordinate = parameter.coordinate(value)
            # The table's 64.0 is the space's 64; but what a transform rounds must stay as the table has it.
            exact = parameter.value(coordinate)
            value = exact if same(exact, value) else value
        values[parameter.name] = value
    return Configuration(values, coordinates)


def _key(config: Configuration) -> Hashable:
    return identity(config.values)


def landscape_space(path: Path) -> dict[str, Any]:
    """Make a search space from a table: the content of a search-space file.

    Text, truth values and columns with at most three values become choices, everything else the range from its smallest
    to its largest value: of whole numbers where all are whole, logarithmic where its name is one of `LOG_SCALED`. A
    column that is always 0 (that is, inactive) with some choices of another becomes conditional on the others. What
    never varies is left out.

    Raises:
        AutorlError: as `load_table`.
    """
    table = load_table(path)
    columns = {name: [config[name] for config in table.configs] for name in table.hyperparameters}
    conditions = {name: _condition(name, columns) for name in columns}
    parameters: dict[str, Any] = {}
    for name, column in columns.items():
        condition = conditions[name]
        values = _distinct(column if condition is None else [value for value in column if not _zero(value)])
        if len(values) < 2:
            continue
        entry: dict[str, Any]
        if len(values) <= _MAX_CHOICES or not all(map(_numeric, values)):
            entry = {"values": values}
        else:
            entry = {"min": values[0], "max": values[-1]}
            if name in LOG_SCALED and values[0] > 0:
                entry["log"] = True
        if condition is not None:
            parent, allowed = condition
            entry["when"] = {parent: allowed[0] if len(allowed) == 1 else allowed}
        parameters[name] = entry
    return {"parameters": parameters}


def _condition(name: str, columns: Mapping[str, Sequence[Any]]) -> tuple[str, list[Any]] | None:
    """Return the column without whose values this one is always 0: of several, the one that is so least often."""
    found: dict[str, tuple[int, list[Any]]] = {}
    if not any(map(_zero, columns[name])):
        return None
    for parent, column in columns.items():
        known = [value for value in _distinct(column) if not _zero(value)]
        if parent == name or any(map(_numeric, known)):
            continue
        rows = [value for value, own in zip(column, columns[name], strict=True) if not _zero(own)]
        allowed = _distinct(rows)
        # A parent that is itself inactive where this one is not cannot be what activates it.
        if 0 < len(allowed) < len(known) and not any(map(_zero, allowed)):
            found[parent] = sum(any(same(value, one) for one in allowed) for value in column), allowed
    if not found:
        return None
    parent = min(found, key=lambda parent: found[parent][0])
    return parent, found[parent][1]


def _distinct(values: Sequence[Any]) -> list[Any]:
    """Return the values without repetitions, numbers ascending; whole numbers as such if all are whole."""
    found = list({identity(value): value for value in values}.values())
    if all(map(_numeric, found)):
        whole = all(float(value).is_integer() for value in found)
        return sorted(int(value) if whole else float(value) for value in found)
    return sorted(found, key=lambda value: (str(type(value)), str(value)))


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _zero(value: Any) -> bool:
    return _numeric(value) and value == 0
