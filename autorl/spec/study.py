"""The study file: every key that it may have, what it means, and what it allows.

These models exist at the YAML boundary only. `StudySpec` is frozen, refuses unknown keys, and its JSON Schema
(`autorl schema study`) is what editors complete from.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

from autorl.spec.space import Choice, Numeric, Parameter, SearchSpace, Transform, same

_RANGE = re.compile(r"(\d+):(\d+)")
MAX_SEED = 2**63 - 1
MAX_SEEDS = 10_000


class Spec(BaseModel):
    """Base of every section: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


def _seeds(value: Any) -> Any:
    """Read `0:5` (five seeds: 0 to 4), a list of seeds, or one seed."""
    if isinstance(value, str):
        match = _RANGE.fullmatch(value.strip())
        if not match:
            raise ValueError("write a half-open range such as 0:5, or a list of whole numbers")
        first, end = int(match[1]), int(match[2])
        if not first < end:
            raise ValueError(f"the range is empty; its end is not included, so write at least {first}:{first + 1}")
        if end - first > MAX_SEEDS:
            raise ValueError(f"more than {MAX_SEEDS:,} seeds")
        return tuple(range(first, end))
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    return value


def _compact(seeds: tuple[int, ...]) -> str | list[int]:
    if seeds and seeds == tuple(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}:{seeds[-1] + 1}"
    return list(seeds)


Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...],
    Field(max_length=MAX_SEEDS),
    BeforeValidator(_seeds),
    PlainSerializer(_compact),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": r"^\d+:\d+$"}, {"type": "array", "items": {"type": "integer", "minimum": 0}}]}
    ),
]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class TaskSpec(Spec):
    """What is to be learned."""

    env: str = Field(min_length=1, description="Gymnasium environment id; 'module:Env-v0' imports the module first.")
    env_kwargs: dict[str, Any] = Field(default={}, description="Arguments of gymnasium.make.")
    wrappers: tuple[str | dict[str, dict[str, Any]], ...] = Field(
        default=(), description="Gymnasium wrappers, inner first: 'module:Class', or {'module:Class': {argument: value}}."
    )


class AlgorithmSpec(Spec):
    """What learns."""

    backend: str = Field(default="sb3", description="What trains.")
    name: str = Field(description="Algorithm, such as ppo, dqn or sac.")
    fixed: dict[str, Any] = Field(
        default={},
        description="Hyperparameters that every trial shares, the default configuration included; 'lin_3e-4' is a linear schedule.",
    )


class PolicySpec(Spec):
    """The policy's class and its arguments."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(default=None, description="Policy class; by default the one that fits the observations.")
    net_arch: str | list[Any] | dict[str, Any] | None = Field(
        default=None, description="Hidden layers: tiny, small, medium, big, large, verybig, [64, 64], or {pi: [64], vf: [64]}."
    )
    activation_fn: str | None = Field(default=None, description="tanh, relu, elu, leaky_relu, gelu or silu.")


class ParameterSpec(Spec):
    """One parameter of a search space: a range (`min`, `max`) or `values`."""

    min: float | int | None = Field(default=None, description="Smallest search coordinate; whole with a whole max: an integer.")
    max: float | int | None = Field(default=None, description="Largest search coordinate, included.")
    log: bool = Field(default=False, description="Search on a logarithmic scale.")
    step: float | int | None = Field(default=None, gt=0, description="Distance between the coordinates allowed.")
    values: list[Any] | None = Field(default=None, min_length=1, description="Choices.")
    transform: Transform | None = Field(default=None, description="The value used: one_minus: 1 - x; power_of_two: 2 ** x.")
    when: dict[str, Any] = Field(default={}, description="Active only if each parameter named has this value, or one of these.")
    default: Any = Field(default=None, description="Value (after the transform) in the default configuration.")
    sets: str | None = Field(default=None, description="Key that it sets, if that is not its name.")
    description: str = ""

    @model_validator(mode="after")
    def _range_or_values(self) -> Self:
        if (self.values is None) == (self.min is None and self.max is None):
            raise ValueError("give either 'min' and 'max', or 'values'")
        if self.values is not None:
            self._check_values(self.values)
        else:
            self._check_range()
        return self

    def _check_values(self, values: list[Any]) -> None:
        for key in ("log", "step", "transform"):
            if getattr(self, key):
                raise ValueError(f"'{key}' goes with 'min' and 'max', not with 'values'")
        for index, value in enumerate(values):
            if any(same(value, other) for other in values[:index]):
                raise ValueError(f"the choice {value!r} is listed twice")

    def _check_range(self) -> None:
        if self.min is None or self.max is None:
            raise ValueError("a range needs both 'min' and 'max'")
        if self.min >= self.max:
            raise ValueError(f"min {self.min} is not below max {self.max}")
        if self.log and self.min <= 0:
            raise ValueError(f"a logarithmic scale needs min above 0, not {self.min}")
        if self.log and self.step is not None:
            raise ValueError("'log' and 'step' exclude each other")
        if self.step is not None and self.step > self.max - self.min:
            raise ValueError(f"step {self.step} is larger than the range")
        if self.transform == "power_of_two" and not self._integer:
            raise ValueError("power_of_two needs whole numbers for min and max: they are exponents")
        if self.transform == "power_of_two" and not -1 < self.min <= self.max <= 62:
            raise ValueError("power_of_two takes exponents from 0 to 62")

    @property
    def _integer(self) -> bool:
        return all(isinstance(bound, int) for bound in (self.min, self.max, *([self.step] if self.step is not None else [])))

    def parameter(self, name: str) -> Parameter:
        """Return the parameter that this entry describes."""
        domain: Numeric | Choice
        if self.values is not None:
            domain = Choice(tuple(self.values))
        else:
            assert self.min is not None and self.max is not None
            domain = Numeric(self.min, self.max, self.log, self.step, self._integer)
        when = tuple((parent, tuple(value) if isinstance(value, list) else (value,)) for parent, value in self.when.items())
        return Parameter(name, domain, self.sets or name, self.transform, when, self.default, self.description)


class SearchSpaceSpec(Spec):
    """A search-space file."""

    parameters: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.@-]{0,199}$")], ParameterSpec] = Field(
        default={}, description="Parameter name → its range or values. A dotted name addresses another part of the study."
    )

    def space(self) -> SearchSpace:
        """Return the search space, parents before children.

        Raises:
            ValueError: conditions go round in a circle. (Unknown parents are found by `autorl.spec.load`, with their place.)
        """
        waiting = {name: entry.parameter(name) for name, entry in self.parameters.items()}
        ordered: list[Parameter] = []
        while waiting:
            ready = [p for p in waiting.values() if not any(parent in waiting for parent, _ in p.when)]
            if not ready:
                raise ValueError(f"the conditions of {', '.join(sorted(waiting))} go round in a circle")
            ordered += ready
            for parameter in ready:
                del waiting[parameter.name]
        return SearchSpace(tuple(ordered))


class ObjectiveSpec(Spec):
    """What is optimized: a metric at the end of training, aggregated over the seeds."""

    metric: str = Field(default="return", description="What each evaluation measures.")
    over_seeds: Literal["mean", "median", "iqm"] = Field(default="mean", description="How the scores of the seeds become one.")
    direction: Literal["maximize", "minimize"] = "maximize"


class SeedsSpec(Spec):
    """Which seeds belong to which phase. They may not overlap: that is what makes the test score honest."""

    tuning: Seeds = Field(min_length=1, description="Seeds that every trial is trained on.")
    validation: Seeds = Field(default=(), description="Seeds on which the best trials are trained again to choose the winner.")
    test: Seeds = Field(min_length=1, description="Seeds for the headline: the winner and the default, never used before.")

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        phases = {"tuning": self.tuning, "validation": self.validation, "test": self.test}
        for phase, seeds in phases.items():
            if len(set(seeds)) != len(seeds):
                raise ValueError(f"{phase} names a seed twice")
        for a, b in (("tuning", "validation"), ("tuning", "test"), ("validation", "test")):
            if shared := sorted(set(phases[a]) & set(phases[b])):
                raise ValueError(f"{a} and {b} share {'seeds' if len(shared) > 1 else 'seed'} {str(shared[:5])[1:-1]}; they must not overlap")
        return self


class BudgetSpec(Spec):
    """How much training the study may use."""

    trials: int = Field(gt=0, le=1_000_000, description="Configurations to try, the default configuration included.")
    steps_per_run: int = Field(gt=0, description="Environment steps of one full run.")


class EvaluationSpec(Spec):
    """How a run is measured: separate episodes, at evenly spaced points of training."""

    points: int = Field(default=10, gt=0, le=10_000, description="Evaluations in a full run; the last is its score.")
    episodes: int = Field(default=10, gt=0, le=10_000, description="Episodes of each evaluation.")
    deterministic: bool = Field(default=True, description="Evaluate the policy's mode rather than samples of it.")


class RetestSpec(Spec):
    """Training the best trials again, on validation seeds, to choose the winner."""

    top: int = Field(default=3, gt=0, description="How many of the best trials by tuning data.")


class OptimizerSpec(Spec):
    """What proposes configurations."""

    name: str = Field(default="tpe", description="Optimizer, such as tpe or random.")
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="Seed of the proposals.")
    max_pending: int | None = Field(
        default=None,
        ge=0,
        description="A proposal waits for all earlier trials but this many, so that timing cannot change it; "
        "by default as few as keep the workers busy.",
    )


class ExecutionSpec(Spec):
    """Where runs run. It may change from one launch of a study to the next."""

    executor: str = Field(default="processes", description="processes: one process a run; inline: in the engine itself.")
    workers: int | Literal["auto"] = Field(default="auto", description="Runs at a time; auto: one for each CPU core.")
    checkpoint_seconds: float = Field(
        default=60.0, gt=0, description="Wall time between the checkpoints from which an interrupted run goes on."
    )

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if isinstance(self.workers, int) and self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        return self


class StudySpec(Spec):
    """A study: a task, a search space, objectives, seeds, a budget and an optimizer."""

    study: Name = Field(description="Name of the study in the database.")
    task: TaskSpec
    algorithm: AlgorithmSpec
    policy: PolicySpec = PolicySpec()
    search_space: SearchSpaceSpec = Field(description="Path of a search-space file, relative to this file, or the space itself.")
    objectives: tuple[ObjectiveSpec, ...] = Field(default=(ObjectiveSpec(),), min_length=1, max_length=1)
    seeds: SeedsSpec
    budget: BudgetSpec
    evaluation: EvaluationSpec = EvaluationSpec()
    retest: RetestSpec = RetestSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    execution: ExecutionSpec = ExecutionSpec()
    storage: str = Field(default="sqlite:///autorl.db", min_length=1, description="Database URL (SQLAlchemy).")

    @property
    def objective(self) -> ObjectiveSpec:
        """The objective."""
        return self.objectives[0]

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.search_space.space()
