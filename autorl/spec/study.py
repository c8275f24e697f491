"""The study file: every key that it may have, what it means, and what it allows.

These models exist at the YAML boundary only. `StudySpec` is frozen, refuses unknown keys, and its JSON Schema
(`autorl schema study`) is what editors complete from. Nothing is coerced: `"8"` is no number and `on` is no boolean;
only a whole number may be written `1e6`.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from autorl.spec.curriculum import CurriculumSpec
from autorl.spec.objectives import TIMES, ConstraintSpec, MeasureSpec, ObjectiveSpec
from autorl.spec.parameters import SearchSpaceSpec
from autorl.spec.program import ProgramSpec
from autorl.spec.section import MAX_ENTRIES, Spec, Whole, as_tuple, whole
from autorl.spec.space import SearchSpace
from autorl.spec.task import TaskSpec
from autorl.spec.yaml12 import show

_RANGE = re.compile(r"([0-9]{1,19}):([0-9]{1,19})")
MAX_SEED = 2**63 - 1
MAX_SEEDS = MAX_ENTRIES
MAX_OBJECTIVES = 6


def _seeds(value: Any) -> Any:
    """Read `0:5` (five seeds: 0 to 4), a list of seeds, or one seed."""
    if isinstance(value, str):
        match = _RANGE.fullmatch(value.strip())
        if not match:
            raise ValueError(f"{value!r} is no range; write a half-open one such as 0:5, or a list of whole numbers")
        first, end = int(match[1]), int(match[2])
        if not first < end:
            raise ValueError(
                f"the range {value} is empty; its end is not included, so write at least {first}:{first + 1}"
            )
        if end - first > MAX_SEEDS:
            raise ValueError(f"{value} is more than {MAX_SEEDS:,} seeds")
        return tuple(range(first, end))
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError(f"{show(value)}: must be a range such as 0:5, or a list of whole numbers")
    return as_tuple(value)


def _compact(seeds: tuple[int, ...]) -> str | list[int]:
    if seeds and seeds == tuple(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}:{seeds[-1] + 1}"
    return list(seeds)


def _database(value: Any) -> Any:
    if isinstance(value, str) and "://" not in value:
        raise ValueError(f"{value!r} is no database URL; write sqlite:///FILE.db")
    return value


Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...],
    Field(max_length=MAX_SEEDS),
    BeforeValidator(_seeds),
    PlainSerializer(_compact),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,19}:[0-9]{1,19}$"},
                {"type": "integer", "minimum": 0},
                {"type": "array", "items": {"type": "integer", "minimum": 0}},
            ]
        }
    ),
]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


def spread(env_steps: int, points: int) -> tuple[int, ...]:
    """Return the environment steps at which a run is evaluated: points at even distances, the last at its end."""
    return tuple(round(env_steps * k / points) for k in range(1, points + 1))


class AlgorithmSpec(Spec):
    """What learns."""

    backend: str = Field(default="sb3", description="What trains.")
    engine: str | None = Field(
        default=None,
        description="How the backend trains, if it knows several ways. jax: compiled, host, envpool; llm: small, trl.",
    )
    name: str = Field(description="Algorithm, such as ppo, dqn or sac.")
    fixed: dict[str, Any] = Field(
        default={},
        description="Hyperparameters that every trial shares, the default configuration included; "
        "'lin_3e-4' is a linear schedule.",
    )


class PolicySpec(Spec):
    """The policy's class and its arguments."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(default=None, description="Policy class; by default the one that fits the observations.")
    net_arch: str | list[Any] | dict[str, Any] | None = Field(
        default=None,
        description="Hidden layers: tiny, small, medium, big, large, verybig, [64, 64], or {pi: [64], vf: [64]}.",
    )
    activation_fn: str | None = Field(default=None, description="tanh, relu, elu, leaky_relu, gelu or silu.")


class SeedsSpec(Spec):
    """Which seeds belong to which phase. They may not overlap: that is what makes the test score honest."""

    tuning: Seeds = Field(min_length=1, description="Seeds that every trial is trained on.")
    validation: Seeds = Field(
        default=(), description="Seeds on which the best trials are trained again to choose the winner."
    )
    test: Seeds = Field(
        min_length=1, description="Seeds for the headline: the winner and the default, never used before."
    )

    def mistakes(self) -> list[tuple[str, str]]:
        """Find seeds that are named twice, in one phase or in two."""
        phases = {"tuning": self.tuning, "validation": self.validation, "test": self.test}
        found = []
        for phase, seeds in phases.items():
            if len(set(seeds)) != len(seeds):
                found.append((phase, f"seed {next(s for s in seeds if seeds.count(s) > 1)} is named twice"))
        for a, b in (("tuning", "validation"), ("tuning", "test"), ("validation", "test")):
            if shared := sorted(set(phases[a]) & set(phases[b])):
                more = f" and {len(shared) - 5} more" if len(shared) > 5 else ""
                named = f"{'seeds' if len(shared) > 1 else 'seed'} {', '.join(map(str, shared[:5]))}{more}"
                found.append((b, f"{a} and {b} share {named}; they must not overlap"))
        return found


class BudgetSpec(Spec):
    """How much tuning may cost. It ends when one of the limits is reached; retests are not counted."""

    trials: Annotated[int, Field(gt=0, le=1_000_000), BeforeValidator(whole)] | None = Field(
        default=None,
        description="As much training as this many configurations take on all tuning seeds, in full; "
        "an optimizer that stops the bad ones early tries more of them for it.",
    )
    env_steps: Annotated[int, Field(gt=0, le=10**18), BeforeValidator(whole)] | None = Field(
        default=None, description="Environment steps of all tuning runs together."
    )
    steps_per_run: Whole = Field(gt=0, le=10**15, description="Environment steps of one full run.")
    seconds: float | None = Field(
        default=None, gt=0, description="Wall time of tuning; runs in training when it is over are finished."
    )
    target: float | None = Field(
        default=None, description="Objective at which tuning ends: no better configuration is needed."
    )
    gain: float | None = Field(
        default=None,
        gt=0,
        description="Tuning ends when as much training again is expected to improve the objective by less than this.",
    )

    def mistakes(self) -> list[tuple[str, str]]:
        """Find a budget without an end."""
        if self.trials is None and self.env_steps is None and self.seconds is None:
            return [("", "give 'trials', 'env_steps' or 'seconds'")]
        return []


class EvaluationSpec(Spec):
    """How a run is measured: separate episodes, at evenly spaced points of training."""

    points: Whole = Field(default=10, gt=0, le=10_000, description="Evaluations in a full run; the last is its score.")
    episodes: Whole = Field(default=10, gt=0, le=10_000, description="Episodes of each evaluation.")
    deterministic: bool = Field(default=True, description="Evaluate the policy's mode rather than samples of it.")


class RetestSpec(Spec):
    """Training the best trials again, on validation seeds, to choose the winner."""

    top: Whole | None = Field(
        default=None,
        gt=0,
        description="How many of the best trials by tuning data; by default 3, of several objectives 10 of the front.",
    )


class TransferSpec(Spec):
    """An earlier study whose best configurations are tried first."""

    study: Name = Field(description="Name of the earlier study.")
    storage: Annotated[str, BeforeValidator(_database)] | None = Field(
        default=None, description="Database that holds it, if not this study's."
    )
    top: Whole = Field(default=5, gt=0, le=1_000, description="How many of its best trials.")


class OptimizerSpec(Spec):
    """What proposes configurations. Further keys are options of the optimizer that is named."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(default="race", description="Optimizer, such as race, tpe or random.")
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="Seed of the proposals.")
    max_pending: int | None = Field(
        default=None,
        ge=0,
        description="A proposal waits for all earlier trials but this many, so that timing cannot change it; "
        "by default as few as keep the workers busy.",
    )
    enqueue: Annotated[tuple[dict[str, Any], ...], BeforeValidator(as_tuple)] = Field(
        default=(),
        max_length=1_000,
        description="Configurations to try after the default: values of parameters; the others as in the default.",
    )
    transfer: TransferSpec | None = Field(
        default=None, description="An earlier study whose best configurations are tried next."
    )

    @property
    def options(self) -> dict[str, Any]:
        """The keys that are options of the optimizer."""
        return dict(self.model_extra or {})


class LimitsSpec(Spec):
    """When a run is taken to hang or to want too much: it is stopped, and tried once more."""

    progress_seconds: float = Field(
        default=600.0, gt=0, description="Wall time without a training step or an evaluation after which a run hangs."
    )
    run_seconds: float | None = Field(
        default=None, gt=0, description="Wall time that one attempt at a run may take; by default as long as it moves."
    )
    memory_mb: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="Memory (MiB) that one run may allocate; by default nine tenths of the machine's."
    )


class ResourcesSpec(Spec):
    """What one run takes of a Ray cluster."""

    cpu: float = Field(default=1.0, ge=0, description="CPU cores.")
    gpu: float = Field(default=0.0, ge=0, description="GPUs; a part of one where runs share it.")


class ExecutionSpec(Spec):
    """Where runs run. It may change from one launch of a study to the next."""

    executor: str = Field(
        default="processes",
        description="processes: one process a run; ray: tasks on a Ray cluster; inline: in the engine itself.",
    )
    workers: Annotated[int, Field(gt=0, le=100_000)] | Literal["auto"] = Field(
        default="auto", description="Runs at a time; auto: one for each CPU core."
    )
    checkpoint_seconds: float = Field(
        default=60.0, gt=0, description="Wall time between the checkpoints from which an interrupted run goes on."
    )
    folder: str | None = Field(
        default=None,
        min_length=1,
        description="Folder for checkpoints and results on their way, which every machine that trains must see; "
        "relative to the current directory. By default beside the database file, or in the user's state folder.",
    )
    limits: LimitsSpec = Field(default=LimitsSpec(), description="When a run is stopped.")
    address: str | None = Field(
        default=None, description="Ray cluster to join (auto, or host:port); by default one is started here."
    )
    resources: ResourcesSpec = Field(default=ResourcesSpec(), description="What a run takes of a Ray cluster.")

    def mistakes(self) -> list[tuple[str, str]]:
        """Find what one executor needs, and what another would ignore."""
        if self.executor == "ray":
            return [("workers", "say how many runs train at a time on the cluster")] if self.workers == "auto" else []
        unused = {"address": self.address is not None, "resources": self.resources != ResourcesSpec()}
        why = f"only 'executor: ray' uses it, this is '{self.executor}'"
        return [(key, why) for key, given in unused.items() if given]

    @property
    def parallel(self) -> int:
        """How many runs train at a time."""
        return len(os.sched_getaffinity(0)) if self.workers == "auto" else self.workers


class StudySpec(Spec):
    """A study: a task, a search space, objectives, seeds, a budget and an optimizer."""

    study: Name = Field(description="Name of the study in the database.")
    task: TaskSpec = Field(description="What is to be learned: a Gymnasium environment.")
    algorithm: AlgorithmSpec = Field(description="What learns: its name, and what every trial shares.")
    policy: PolicySpec = Field(default=PolicySpec(), description="The policy's class and its arguments.")
    program: ProgramSpec | None = Field(
        default=None, description="Backends function and command: your own trainer, and how its evaluations are read."
    )
    curriculum: CurriculumSpec = Field(default=CurriculumSpec(), description="Which tasks are trained when.")
    search_space: SearchSpaceSpec = Field(
        description="Path of a search-space file, relative to this file, or the space itself."
    )
    objectives: Annotated[tuple[ObjectiveSpec, ...], BeforeValidator(as_tuple)] = Field(
        default=(ObjectiveSpec(),),
        min_length=1,
        max_length=MAX_OBJECTIVES,
        description="What is optimized; of several, the trade-offs that nothing beats are looked for.",
    )
    constraints: Annotated[tuple[ConstraintSpec, ...], BeforeValidator(as_tuple)] = Field(
        default=(), max_length=10, description="What configurations have to keep to, on average over seeds."
    )
    seeds: SeedsSpec = Field(description="Which seeds belong to tuning, validation and test; they may not overlap.")
    budget: BudgetSpec = Field(description="How much training the study may use.")
    evaluation: EvaluationSpec = Field(default=EvaluationSpec(), description="How a run is measured.")
    retest: RetestSpec = Field(
        default=RetestSpec(), description="Training the best trials again on validation seeds, to choose the winner."
    )
    optimizer: OptimizerSpec = Field(default=OptimizerSpec(), description="What proposes configurations.")
    execution: ExecutionSpec = Field(
        default=ExecutionSpec(), description="Where runs run; may change between launches."
    )
    storage: Annotated[str, BeforeValidator(_database)] = Field(
        default="sqlite:///autorl.db",
        description="Database URL, such as sqlite:///autorl.db; a file is relative to the current directory.",
    )

    def written(self) -> dict[str, Any]:
        """Return the study as a file would say it, every default included."""
        data = self.model_dump(mode="json")
        # Of a parameter's keys only those that were given say anything: a range has no values, and choices no range.
        return {**data, "search_space": self.model_dump(mode="json", exclude_defaults=True)["search_space"]}

    @property
    def objective(self) -> ObjectiveSpec:
        """The objective; of several the first."""
        return self.objectives[0]

    @property
    def curve_metric(self) -> str:
        """The metric of learning curves: the first objective's that evaluations measure."""
        return next((o.metric for o in self.objectives if o.metric not in TIMES), "return")

    @property
    def curve_direction(self) -> Literal["maximize", "minimize"]:
        """Which way the metric of learning curves is better; steps to it, and its spread, have another way."""
        first = next((o for o in self.objectives if o.metric not in TIMES), None)
        if first is None or first.over_run == "steps_to" or first.over_seeds == "std":
            return "maximize"
        return first.direction

    @property
    def middle_direction(self) -> Literal["maximize", "minimize"]:
        """Which way the curve is better that the first objective's statistic makes of those of the seeds."""
        return self.objective.direction if self.objective.over_seeds == "std" else self.curve_direction

    @property
    def asked_metrics(self) -> tuple[str, ...]:
        """The metrics that each evaluation has to have: those of objectives and constraints, times apart."""
        return tuple(dict.fromkeys(measure.metric for measure in self.measures if measure.metric not in TIMES))

    @property
    def measures(self) -> tuple[MeasureSpec, ...]:
        """What is measured of each run: for the objectives, then for the constraints."""
        return (*self.objectives, *self.constraints)

    @property
    def plain(self) -> bool:
        """Whether it has one objective and no constraint."""
        return len(self.measures) == 1

    @property
    def retested(self) -> int:
        """How many of the best trials are trained again; with several objectives, how many of the front."""
        return self.retest.top if self.retest.top is not None else 3 if len(self.objectives) == 1 else 10

    @property
    def tuning_steps(self) -> int | None:
        """Environment steps that tuning may take, or None if only time limits it."""
        full = self.budget.steps_per_run * len(self.seeds.tuning)
        limits = [
            self.budget.env_steps,
            self.budget.trials * full if self.budget.trials is not None else None,
        ]
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def points(self) -> tuple[int, ...]:
        """Environment steps at which a run is evaluated; the last is a full run."""
        return spread(self.budget.steps_per_run, self.evaluation.points)

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.search_space.space()
