"""The search-space file: every key that a parameter may have, and what it allows."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from decimal import Decimal
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from autorl.spec.section import Spec
from autorl.spec.space import Choice, Numeric, Parameter, Prior, SearchSpace, Transform, identity, inverse, transformed
from autorl.spec.yaml12 import show

MAX_PARAMETERS = 1_000
MAX_VALUES = 1_000
NAME = r"^[A-Za-z_][A-Za-z0-9_.@-]{0,199}$"
# Beyond this a float cannot tell whole numbers apart.
MAX_BOUND = 2**53


class PriorSpec(Spec):
    """Where good values of a range are believed to lie: a normal distribution, cut off at the ends of the range."""

    mean: float | int = Field(description="Value (after the transform, as in `default`) believed best.")
    std: float = Field(
        gt=0,
        description="Standard deviation on the scale that is searched: of the coordinate (before the transform); "
        "with 'log', of its decimal logarithm, so that 0.5 is half a decade.",
    )


class ParameterSpec(Spec):
    """One parameter of a search space: a range (`min`, `max`) or `values`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["min", "max"]}, {"required": ["values"]}],
        }
    )

    min: float | int | None = Field(
        default=None, description="Smallest search coordinate; whole with a whole max: an integer."
    )
    max: float | int | None = Field(default=None, description="Largest search coordinate, included.")
    log: bool = Field(default=False, description="Search on a logarithmic scale.")
    step: float | int | None = Field(default=None, gt=0, description="Distance between the coordinates allowed.")
    values: list[Any] | None = Field(default=None, min_length=1, max_length=MAX_VALUES, description="Choices.")
    transform: Transform | None = Field(
        default=None, description="The value used: one_minus: 1 - x; power_of_two: 2 ** x."
    )
    when: dict[str, Any] = Field(
        default={}, description="Active only if each parameter named has this value, or one of these."
    )
    default: Any = Field(default=None, description="Value (after the transform) in the default configuration.")
    prior: PriorSpec | None = Field(
        default=None, description="Where good values of a range are believed to lie; without it, anywhere."
    )
    sets: str | None = Field(default=None, description="Key that it sets, if that is not its name.")
    description: str = Field(default="", description="What it does, for people.")

    def mistakes(self) -> list[tuple[str, str]]:
        """Find what is wrong with the range, or with the choices."""
        if self.values is not None:
            return [*self._wrong_values(self.values)]
        if self.min is None and self.max is None:
            return [("", "give either 'min' and 'max', or 'values'")]
        if self.min is None or self.max is None:
            return [("", f"a range needs both 'min' and 'max'; '{'max' if self.max is None else 'min'}' is missing")]
        return [*self._wrong_range(self.min, self.max)]

    def _wrong_values(self, values: list[Any]) -> Iterator[tuple[str, str]]:
        for key in ("min", "max", "log", "step", "transform", "prior"):
            if getattr(self, key) not in (None, False):
                yield key, f"'{key}' goes with a range, not with 'values'; leave out one of them"
        seen: set[Hashable] = set()
        plain: dict[Any, Any] = {}
        for value, label in zip(values, Choice(tuple(values)).labels, strict=True):
            if identity(value) in seen:
                yield "values", f"the choice {show(value)} is listed twice"
            elif label in plain:
                # Optuna and ConfigSpace compare as Python does: for them true and 1 are one choice.
                yield (
                    "values",
                    f"the choices {show(plain[label])} and {show(value)} cannot be told apart; leave one out",
                )
            seen.add(identity(value))
            plain[label] = value

    def _wrong_range(self, low: float, high: float) -> Iterator[tuple[str, str]]:
        for key, bound in (("min", low), ("max", high)):
            if isinstance(bound, int) and abs(bound) > MAX_BOUND:
                yield key, f"{bound} is too large; whole numbers go up to 2 ** 53"
        if low >= high:
            yield "min", f"min {low} is not below max {high}"
        if self.log and low <= 0:
            yield "min", f"a logarithmic scale needs min above 0, not {low}; raise it, or leave out 'log'"
        if self.log and self.step is not None:
            yield "step", "'log' and 'step' exclude each other"
        elif self.step is not None and low < high:
            yield from self._wrong_step(low, high, self.step)
        if self.transform == "power_of_two" and not self._integer:
            yield "transform", "power_of_two needs whole numbers for min and max: they are exponents"
        elif self.transform == "power_of_two" and not 0 <= low < high <= 62:
            yield "transform", f"power_of_two takes exponents from 0 to 62, not {low} to {high}"
        elif self.prior is not None and low < high and self._prior_mean(self.prior.mean, low, high) is None:
            ends = sorted(transformed(self.transform, end) for end in (low, high))
            yield "prior", f"mean {self.prior.mean} is outside the range, which goes from {ends[0]} to {ends[1]}"

    @staticmethod
    def _wrong_step(low: float, high: float, step: float) -> Iterator[tuple[str, str]]:
        # In decimal, as it is written: 0.3 is three times 0.1.
        start, end, width = Decimal(str(low)), Decimal(str(high)), Decimal(str(step))
        if width > end - start:
            yield "step", f"step {step} is larger than the range from {low} to {high}"
        elif (end - start) / width > MAX_BOUND:
            yield "step", f"step {step} is too small for the range from {low} to {high}"
        elif (end - start) % width:
            last = start + (end - start) // width * width
            yield "step", f"steps of {step} from {low} do not end at {high}; write max {last}"

    def _prior_mean(self, value: float, low: float, high: float) -> float | None:
        """Return the coordinate of a prior's mean, which need not be whole or on a step; None if out of the range."""
        coordinate = inverse(self.transform, value)
        # 1 - (1 - x) may miss an end of the range by a rounding error.
        coordinate = next((end for end in (low, high) if math.isclose(coordinate, end, rel_tol=1e-9)), coordinate)
        return coordinate if low <= coordinate <= high else None

    @property
    def _integer(self) -> bool:
        return all(
            isinstance(bound, int) for bound in (self.min, self.max, *([self.step] if self.step is not None else []))
        )

    def parameter(self, name: str) -> Parameter:
        """Return the parameter that this entry describes."""
        domain: Numeric | Choice
        prior = None
        if self.values is not None:
            domain = Choice(tuple(self.values))
        else:
            assert self.min is not None and self.max is not None
            domain = Numeric(self.min, self.max, self.log, self.step, self._integer)
            if self.prior is not None:
                mean = self._prior_mean(self.prior.mean, self.min, self.max)
                assert mean is not None
                prior = Prior(float(mean), self.prior.std)
        when = tuple(
            (parent, tuple(value) if isinstance(value, list) else (value,)) for parent, value in self.when.items()
        )
        return Parameter(name, domain, self.sets or name, self.transform, when, self.default, self.description, prior)


def prior_entry(parameter: Parameter) -> dict[str, float]:
    """Return the prior of a parameter that has one, as it stands in a file."""
    assert parameter.prior is not None
    mean = transformed(parameter.transform, parameter.prior.mean)
    # As many digits as a float surely keeps: 0.3, which is not 1 - (1 - 0.3), is read back as the same coordinate.
    return {"mean": float(f"{mean:.15g}"), "std": parameter.prior.std}


class SearchSpaceSpec(Spec):
    """A search-space file."""

    parameters: dict[Annotated[str, Field(pattern=NAME)], ParameterSpec] = Field(
        default={},
        max_length=MAX_PARAMETERS,
        json_schema_extra={"additionalProperties": False},
        description="Parameter name → its range or values. A dotted name addresses another part of the study.",
    )

    def space(self) -> SearchSpace:
        """Return the search space, parents before children.

        Raises:
            ValueError: conditions go round in a circle. (Unknown parents are found by `autorl.spec.load`.)
        """
        waiting = {name: entry.parameter(name) for name, entry in self.parameters.items()}
        ordered: list[Parameter] = []
        while waiting:
            ready = [p for p in waiting.values() if not any(parent in waiting for parent, _ in p.when)]
            if not ready:
                raise ValueError(f"the conditions of {' → '.join(self.circle())} go round in a circle")
            ordered += ready
            for parameter in ready:
                del waiting[parameter.name]
        return SearchSpace(tuple(ordered))

    def circle(self) -> list[str]:
        """Return parameters whose conditions go round in a circle, the first again at the end; empty if none do."""
        done: set[str] = set()
        for start in self.parameters:
            path = [start]
            while path and start not in done:
                parents = [p for p in self.parameters[path[-1]].when if p in self.parameters and p not in done]
                if not parents:
                    done.add(path.pop())
                elif parents[0] in path:
                    return [*path[path.index(parents[0]) :], parents[0]]
                else:
                    path.append(parents[0])
        return []
