"""The types that the rest of autorl speaks in: recipes, proposals, runs and their results."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from autorl.spec.curriculum import resolved
from autorl.spec.space import Configuration, SearchSpace
from autorl.spec.study import StudySpec, spread

Phase = Literal["tuning", "validation", "test"]
Status = Literal["completed", "failed"]
FailureClass = Literal["diverged", "exception", "out_of_memory", "crash", "hang"]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what one run trains, except its seed; plain data, stored with the trial.

    Attributes:
        backend: what trains it.
        algorithm: name of the algorithm.
        hyperparameters: the study's fixed ones with the configuration's over them.
        policy: the policy's class (`name`) and arguments.
        env: environment id.
        env_kwargs: its arguments.
        wrappers: as in the study file.
        env_steps: environment steps of a full run, the horizon of schedules.
        evaluation_points: evaluations in a full run.
        evaluation_episodes: episodes of each evaluation.
        deterministic: whether evaluations act by the policy's mode.
        start: what a run trains before this recipe takes over, or None: a fork goes on with another's networks.
        engine: how the backend trains, if the study says so.
        cost: where the cost of a step comes from, as in the study file, if it has one.
        specification: formula of signal temporal logic that episodes are measured by, if there is one.
        task_space: what of the task varies, as `TaskSpec.space` says, or None if nothing does.
        curriculum: its `kind` with every parameter of it, or None if nothing varies.
        program: the user's own trainer as in the study file, and the metrics that it is `asked` for; None without one.
    """

    backend: str
    algorithm: str
    hyperparameters: Mapping[str, Any]
    policy: Mapping[str, Any]
    env: str
    env_kwargs: Mapping[str, Any]
    wrappers: tuple[Any, ...]
    env_steps: int
    evaluation_points: int
    evaluation_episodes: int
    deterministic: bool
    start: Start | None = None
    engine: str | None = None
    cost: str | Mapping[str, Mapping[str, Any]] | None = None
    specification: str | None = None
    task_space: Mapping[str, Any] | None = None
    curriculum: Mapping[str, Any] | None = None
    program: Mapping[str, Any] | None = None

    @property
    def points(self) -> tuple[int, ...]:
        """The environment steps at which a full run is evaluated."""
        return spread(self.env_steps, self.evaluation_points)

    def lineage(self, until: int) -> list[tuple[Recipe, int]]:
        """Return what a run trains, one recipe after the other, and the environment steps that each is to reach."""
        before = [] if self.start is None else self.start.recipe.lineage(self.start.env_steps)
        return [*before, (self, until)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        # Recipes that were stored before there was a choice have no such keys.
        later = ("engine", "cost", "specification", "task_space", "curriculum", "program")
        unasked = {key for key in later if getattr(self, key) is None}
        data = {key: value for key, value in vars(self).items() if key not in unasked}
        if self.start is not None:
            data["start"] = {"recipe": self.start.recipe.to_dict(), "env_steps": self.start.env_steps}
        return data

    def fingerprint(self, seed: int) -> str:
        """Return what identifies a run: its recipe and its seed, wherever the user's trainer is."""
        # A recipe that has been stored has lists for tuples.
        return json.dumps([self.in_folder("").to_dict(), seed], sort_keys=True, default=repr)

    def in_folder(self, folder: str) -> Recipe:
        """Return the recipe with the user's trainer in another folder; as it is, if there is none."""
        start = self.start and Start(self.start.recipe.in_folder(folder), self.start.env_steps)
        return replace(self, start=start, program=self.program and {**self.program, "folder": folder})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Return the recipe that `to_dict` wrote."""
        start = data.get("start")
        begun = None if start is None else Start(cls.from_dict(start["recipe"]), start["env_steps"])
        return cls(**{**data, "wrappers": tuple(data["wrappers"]), "start": begun})


@dataclass(frozen=True)
class Start:
    """What a forked run had trained before: a recipe, up to a number of environment steps."""

    recipe: Recipe
    env_steps: int


def bind(
    spec: StudySpec,
    space: SearchSpace,
    values: Mapping[str, Any],
    switches: frozenset[str] = frozenset(),
    start: Start | None = None,
) -> Recipe:
    """Lay a configuration's values over the study: the recipe of its runs.

    A bare key is a hyperparameter, a dotted one addresses another part of the study.

    Args:
        spec: the study.
        space: its search space.
        values: parameter name → value, as in `Configuration.values`.
        switches: parameters that only the conditions of others use (`autorl.training.protocol.Backend.switches`).
        start: what the runs train before, if the configuration forks another.
    """
    algorithm = spec.algorithm.name
    hyperparameters = dict(spec.algorithm.fixed)
    policy = spec.policy.model_dump(exclude_none=True)
    env_kwargs = dict(spec.task.env_kwargs)
    curriculum = {"kind": spec.curriculum.kind, **spec.curriculum.options}
    for name, value in values.items():
        if name in switches:
            continue
        key = space[name].sets
        if key == "algorithm.name":
            algorithm = value
        elif key.startswith("policy."):
            policy[key.removeprefix("policy.")] = value
        elif key.startswith("task.env_kwargs."):
            env_kwargs[key.removeprefix("task.env_kwargs.")] = value
        elif key.startswith("curriculum."):
            curriculum[key.removeprefix("curriculum.")] = value
        else:
            hyperparameters[key] = value
    return Recipe(
        backend=spec.algorithm.backend,
        algorithm=algorithm,
        hyperparameters=hyperparameters,
        policy=policy,
        env=spec.task.env,
        env_kwargs=env_kwargs,
        wrappers=spec.task.wrappers,
        env_steps=spec.budget.steps_per_run,
        evaluation_points=spec.evaluation.points,
        evaluation_episodes=spec.evaluation.episodes,
        deterministic=spec.evaluation.deterministic,
        start=start,
        engine=spec.algorithm.engine,
        cost=spec.task.cost,
        specification=spec.task.specification,
        task_space=spec.task.space(),
        curriculum=resolved(curriculum) if spec.task.parameters else None,
        program=_program(spec),
    )


def _program(spec: StudySpec) -> dict[str, Any] | None:
    if spec.program is None:
        return None
    return {**spec.program.model_dump(mode="json"), "asked": list(spec.asked_metrics)}


@dataclass(frozen=True)
class Proposal:
    """What an optimizer wants trained next.

    Attributes:
        trial: number of the trial that it starts or continues. New trials are numbered in the order of their first
            proposal, without gaps.
        config: the trial's configuration.
        seeds: tuning seeds to train it on.
        until: environment steps that each of these runs is to reach; one of the study's evaluation points.
        resume_from: number of the trial whose checkpoints the runs start from: the trial's own to go on (a seed that
            is new to it starts from nothing), another's to fork it under a new configuration, None to start the trial
            from nothing.
    """

    trial: int
    config: Configuration
    seeds: tuple[int, ...]
    until: int
    resume_from: int | None = None


@dataclass(frozen=True)
class TrialResult:
    """What an optimizer is told of a finished proposal.

    Attributes:
        value: the objective over the proposal's seeds at its `until`; if one of them diverged, the worst value told so
            far; None if one failed in another way, which says nothing about the configuration. Of several objectives
            the first.
        curves: tuning seed → (environment steps, score) of each evaluation from the run's start up to `until`; a seed
            that failed has none. Empty for an optimizer that does not read curves.
        values: all objectives, the first included; empty where `value` is None, or the only one.
        violations: by how much each constraint is violated, in its unit: 0 or below where it is met. Empty where
            `value` is None, or there is no constraint.
        measures: tuning seed → (environment steps, what each objective and each constraint measures), as `curves`;
            empty with one objective and no constraint.
        failed: the proposal's seeds whose run failed. Where there is a value they diverged: to train or fork them
            further would repeat it.
    """

    value: float | None
    curves: Mapping[int, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    values: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()
    measures: Mapping[int, tuple[tuple[int, tuple[float, ...]], ...]] = field(default_factory=dict)
    failed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Standing:
    """What an optimizer believes of a trial: its posterior for the objective of full runs, over seeds not yet seen.

    Attributes:
        trial: its number.
        mean: the objective expected.
        low: lower end of the 90 % interval of the objective over as many new seeds as the study tests.
        high: upper end.
    """

    trial: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What the seeds of all trials together say of one, in a study with constraints or several objectives.

    Attributes:
        feasible: of each constraint, how likely the trial meets it on as many new seeds as the study tests.
        admissible: whether that is as likely as each constraint asks.
        undominated: with several objectives, how likely no admissible trial is at least as good in all of them and
            better in one; else None.
    """

    feasible: tuple[float, ...]
    admissible: bool
    undominated: float | None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """Return the verdict of which `vars` are the data."""
        return cls(tuple(data["feasible"]), data["admissible"], data["undominated"])


@dataclass(frozen=True, order=True)
class Run:
    """One configuration trained with one seed: the unit that is stored, resumed and never repeated."""

    trial: int
    phase: Phase
    seed: int


@dataclass(frozen=True)
class Checkpoint:
    """A file from which a run can go on, as the ledger knows it.

    Attributes:
        file: its name in the run's folder.
        sha256: hash of its content; a file with another is never loaded.
        env_steps: environment steps that the run had trained.
    """

    file: str
    sha256: str
    env_steps: int


@dataclass(frozen=True)
class Point:
    """One evaluation.

    Attributes:
        env_steps: environment steps trained so far.
        wall_seconds: seconds trained so far, evaluations included, and those of a fork's donor.
        metrics: metric → value; `return` and `length` are means over the episodes, `return_std` their deviation.
        curriculum: parameter of the task → which values of it were trained since the evaluation before, and how well;
            and where the teacher stood (`autorl.training.curriculum.lessons.Lessons.record`). None if nothing varies.
        inference_ms: milliseconds that the policy takes for one action, if the backend measures it. Times are no
            metrics: the same run has others each time.
        front: vector returns of the policies that no other dominates, of an agent that has several; else empty.
    """

    env_steps: int
    wall_seconds: float
    metrics: Mapping[str, float]
    curriculum: Mapping[str, Any] | None = None
    front: tuple[tuple[float, ...], ...] = ()
    inference_ms: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data: dict[str, Any] = {"env_steps": self.env_steps, "wall_seconds": self.wall_seconds}
        data["metrics"] = dict(self.metrics)
        if self.curriculum is not None:
            data["curriculum"] = dict(self.curriculum)
        if self.inference_ms is not None:
            data["inference_ms"] = self.inference_ms
        return {**data, "front": [list(values) for values in self.front]} if self.front else data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Point:
        """Return the point that `to_dict` wrote."""
        return cls(**{**data, "front": tuple(tuple(values) for values in data.get("front", ()))})


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Attributes:
        status: whether it reached the steps asked for.
        curve: its evaluations, in order.
        env_steps: environment steps that it trained, of its whole life.
        wall_seconds: seconds of its whole life, evaluations included; a fork's begins where it leaves its donor.
        cpu_seconds: processor seconds over the same time.
        energy_joules: energy of processors and memory over the same time, or None where the machine does not tell.
        scores: what it is worth for each objective and each constraint, as the engine measures it; empty if it failed.
        error_class: what kind of failure it was.
        error: what it failed with, traceback included.
        notes: what the user should know, such as a resumption that could not be exact.
        checkpoint: the file that the run left last, from which it can go on.
    """

    status: Status
    curve: tuple[Point, ...] = ()
    env_steps: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    energy_joules: float | None = None
    scores: tuple[float, ...] = ()
    error_class: FailureClass | None = None
    error: str | None = None
    notes: tuple[str, ...] = field(default=())
    checkpoint: Checkpoint | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            **vars(self),
            "curve": [point.to_dict() for point in self.curve],
            "scores": list(self.scores),
            "notes": list(self.notes),
            "checkpoint": None if self.checkpoint is None else dataclasses.asdict(self.checkpoint),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunResult:
        """Return the result that `to_dict` wrote."""
        left = data.get("checkpoint")
        return cls(
            **{
                **data,
                "curve": tuple(Point.from_dict(point) for point in data["curve"]),
                "scores": tuple(data.get("scores", ())),
                "notes": tuple(data.get("notes", ())),
                "checkpoint": None if left is None else Checkpoint(**left),
            }
        )
