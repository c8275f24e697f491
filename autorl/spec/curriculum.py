"""The curricula that a study may ask for: their kinds, the parameters of each, and what of the task may vary.

What each kind does is said where it is implemented, in `autorl.training.curriculum`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field

from autorl.spec.section import Spec, Whole
from autorl.spec.yaml12 import show

MAX_VARYING = 20


class VaryingSpec(Spec):
    """A parameter of the task that may vary from episode to episode: a range (`min`, `max`) or `values`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["min", "max"]}, {"required": ["values"]}]})

    min: float | int | None = Field(
        default=None, description="Smallest value in training; whole with a whole max: an integer."
    )
    max: float | int | None = Field(default=None, description="Largest value in training, included.")
    values: list[Any] | None = Field(
        default=None, min_length=1, max_length=1_000, description="Values in training, in order of difficulty."
    )
    easy: Any = Field(
        default=None, description="Where a curriculum begins; by default the end that is farthest from the target."
    )
    through: Literal["set_task", "env_kwargs", "attribute", "trajectory"] = Field(
        default="set_task",
        description="How the environment is told: by its method set_task(name=value), by making it again with the "
        "argument changed, by setting an attribute of the innermost environment, or by playing a part of a trajectory.",
    )
    trajectories: str | None = Field(
        default=None,
        description="File of them, as export --format model writes it; 0.0 is near their ends, 1.0 the start.",
    )
    sha256: str | None = Field(
        default=None,
        description="SHA-256 of the file of trajectories; by default that of the file when the study is read. Runs "
        "fail with any other.",
    )

    def mistakes(self) -> list[tuple[str, str]]:
        """Find what is wrong with the range, or with its easy end."""
        if self.values is not None:
            if self.min is not None or self.max is not None:
                return [("", "give either 'min' and 'max', or 'values'")]
            if self.easy is not None and self.easy not in self.values:
                return [("easy", f"{show(self.easy)} is not one of {show(self.values)}")]
            return self._wrong_trajectories()
        if self.min is None or self.max is None:
            return [("", "give either 'min' and 'max', or 'values'")]
        if not self.min < self.max:
            return [("min", f"min {self.min} is not below max {self.max}")]
        if self.easy is not None and (not _number(self.easy) or not self.min <= self.easy <= self.max):
            return [("easy", f"{show(self.easy)} is not in the range from {self.min} to {self.max}")]
        if self.whole and not isinstance(self.easy, None | int):
            return [("easy", f"{show(self.easy)}: must be a whole number, as the ends of the range are")]
        return self._wrong_trajectories()

    def _wrong_trajectories(self) -> list[tuple[str, str]]:
        if self.through != "trajectory":
            known = self.trajectories is None
            return [] if known else [("trajectories", "goes with 'through: trajectory'")]
        if self.trajectories is None:
            return [("trajectories", "missing: name the file whose states episodes may begin in")]
        if self.min is None or self.max is None or self.whole or not 0 <= self.min < self.max <= 1:
            return [("min", "starts in trajectories are a range within 0.0 and 1.0, written with a point")]
        return []

    @property
    def whole(self) -> bool:
        """Whether it is an integer."""
        return isinstance(self.min, int) and isinstance(self.max, int)

    def wrong_target(self, target: Any) -> str | None:
        """Say why evaluation cannot use a target, or None.

        The target of a range may lie outside it: the range is what training may use.
        """
        ends = [target]
        if isinstance(target, Mapping) and target.keys() == {"values"}:
            ends = target["values"] if isinstance(target["values"], list) and target["values"] else [target]
        elif isinstance(target, Mapping) and target.keys() == {"min", "max"} and self.values is None:
            ends = [target["min"], target["max"]]
            if all(map(_number, ends)) and not ends[0] < ends[1]:
                return f"min {show(ends[0])} is not below max {show(ends[1])}"
        for end in ends:
            if self.values is not None and end not in self.values:
                return f"{show(end)} is not one of {show(self.values)}"
            if self.values is None and not _number(end):
                return f"{show(end)}: must be a number, {{min, max}} or {{values}}"
            if self.whole and not isinstance(end, int):
                return f"{show(end)}: must be a whole number, as the ends of the range are"
        return None


class LinearOptions(Spec):
    """Parameters of `linear`."""

    over: float = Field(default=0.7, gt=0, le=1, description="Share of the run after which only the target is trained.")


class StagesOptions(Spec):
    """Parameters of `stages`."""

    stages: Whole = Field(default=5, ge=2, le=1_000, description="How many, the easy end and the target included.")
    advance: Literal["success", "steps"] = Field(default="success", description="What leads to the next stage.")
    threshold: float = Field(default=0.8, gt=0, le=1, description="Success rate that leads to the next stage.")
    window: Whole = Field(default=20, ge=1, le=10_000, description="Episodes of a stage that the rate is taken over.")
    over: float = Field(default=0.7, gt=0, le=1, description="Share of the run that the stages before the last take.")


class LearningProgressOptions(Spec):
    """Parameters of `learning_progress`."""

    bins: Whole = Field(default=10, ge=2, le=1_000, description="Regions along each parameter.")
    window: Whole = Field(default=10, ge=1, le=10_000, description="Episodes in each of the two means compared.")
    exploration: float = Field(default=0.2, ge=0, le=1, description="Share of episodes drawn uniformly.")


class AlpGmmOptions(Spec):
    """Parameters of `alp_gmm`."""

    fit_every: Whole = Field(default=250, ge=5, le=10_000, description="Episodes between two fits.")
    window: Whole = Field(default=250, ge=10, le=10_000, description="Last episodes that the mixture is fitted to.")
    max_components: Whole = Field(default=5, ge=2, le=50, description="Most Gaussians tried.")
    exploration: float = Field(default=0.2, ge=0, le=1, description="Share of episodes drawn uniformly.")


class AgainOptions(AlpGmmOptions):
    """Parameters of `again`: those of `alp_gmm`, and what is taken over from an earlier study."""

    prior: float = Field(default=0.5, ge=0, le=1, description="Share of episodes where an earlier run found progress.")
    learned_from: str | None = Field(
        default=None, min_length=1, description="Earlier study of the same database whose runs found it."
    )
    niches: dict[str, list[list[float]]] | None = Field(
        default=None,
        description="What they found: parameter → phases of the run → weights of equal parts of its axis; written when "
        "the study is created.",
    )

    def mistakes(self) -> list[tuple[str, str]]:
        """Find niches that cannot be drawn from."""
        found = []
        for name, phases in (self.niches or {}).items():
            weights = [weight for phase in phases for weight in phase]
            if not weights or len({len(phase) for phase in phases}) > 1 or min(weights) < 0:
                found.append(("niches", f"{name}: must be a list of phases, each with as many weights of at least 0"))
        if len({len(phases) for phases in (self.niches or {}).values()}) > 1:
            found.append(("niches", "the parameters must have as many phases as one another"))
        return found


class RiacOptions(Spec):
    """Parameters of `riac`."""

    region: Whole = Field(default=50, ge=4, le=10_000, description="Episodes in a region before it is split.")
    window: Whole = Field(default=40, ge=4, le=10_000, description="Last episodes of a region that progress is over.")
    splits: Whole = Field(default=20, ge=1, le=1_000, description="Random splits tried.")
    exploration: float = Field(default=0.2, ge=0, le=0.9, description="Share of episodes drawn uniformly.")


class AdrOptions(Spec):
    """Parameters of `adr`."""

    boundary: float = Field(default=0.5, gt=0, le=1, description="Share of episodes at an end of the range.")
    buffer: Whole = Field(default=10, ge=1, le=10_000, description="Episodes at an end before it may move.")
    low: float = Field(default=0.2, ge=0, le=1, description="Success rate at or below which an end moves back.")
    high: float = Field(default=0.7, ge=0, le=1, description="Success rate at or above which an end moves out.")
    step: float = Field(default=0.05, gt=0, le=1, description="How far it moves, as a share of the whole range.")


class PlrOptions(Spec):
    """Parameters of `plr`."""

    buffer: Whole = Field(default=100, ge=2, le=10_000, description="Tasks that are remembered.")
    replay: float = Field(
        default=0.5, ge=0, le=1, description="Share of episodes on remembered tasks, once it is full."
    )
    temperature: float = Field(default=0.1, gt=0, le=10, description="How evenly; near 0 the highest score only.")
    staleness: float = Field(default=0.1, ge=0, le=1, description="Weight of how long ago a task was trained.")


class SelfPacedOptions(Spec):
    """Parameters of `self_paced`."""

    threshold: float = Field(default=0.5, gt=0, le=1, description="Success rate from which it moves to the target.")
    window: Whole = Field(default=20, ge=1, le=10_000, description="Episodes between two moves.")
    spread: float = Field(default=0.1, gt=0, le=1, description="Standard deviation, as a share of the whole range.")
    divergence: float = Field(default=0.5, gt=0, le=100, description="Most that a move may change, in nats.")


class BanditOptions(Spec):
    """Parameters of `bandit`."""

    bins: Whole = Field(default=5, ge=2, le=1_000, description="Categories along each parameter.")
    rate: float = Field(default=0.3, gt=0, le=1, description="Learning rate of the value of a category.")
    temperature: float = Field(default=0.1, gt=0, le=100, description="How evenly categories are drawn.")


class DegradeOptions(Spec):
    """Parameters of `degrade`."""

    base: float = Field(default=4.0, gt=1, le=1_000, description="How late the pace picks up; near 1 it is even.")
    over: float = Field(default=0.7, gt=0, le=1, description="Share of the run after which only the target is trained.")


class MiddleDifficultyOptions(Spec):
    """Parameters of `middle_difficulty`."""

    candidates: Whole = Field(default=4, ge=2, le=100, description="Problems that are looked at for each trained on.")
    middle: float = Field(default=0.5, gt=0, lt=1, description="Share of right answers that is looked for.")
    value_rate: float = Field(default=1e-3, gt=0, le=1, description="Learning rate of the model that expects it.")


class ItemResponseOptions(Spec):
    """Parameters of `item_response`."""

    rounds: Whole = Field(default=4, ge=2, le=100, description="Rounds of a problem, at most one a completion.")
    aim: float = Field(default=0.5, gt=0.2, lt=1, description="Share of right answers that hints aim at.")


class GuidanceOptions(Spec):
    """Parameters of `guidance`."""

    stages: Whole = Field(default=3, ge=1, le=10, description="How often a longer hint is tried at most.")


class LengthStagesOptions(Spec):
    """Parameters of `length_stages`."""

    stages: Whole = Field(default=3, ge=2, le=100, description="How many, that of the full length included.")
    first: float = Field(default=0.5, gt=0, lt=1, description="Length of the first, as a share of max_tokens.")
    over: float = Field(default=0.7, gt=0, le=1, description="Share of the run that the stages before the last take.")


class FailuresOptions(Spec):
    """Parameters of `failures`."""

    replay: float = Field(default=0.5, ge=0, le=1, description="Share of episodes that failed before, if any did.")
    buffer: Whole = Field(default=100, ge=1, le=10_000, description="Failed episodes that are remembered.")


class SnapshotsOptions(Spec):
    """Parameters of `snapshots`."""

    clusters: Whole = Field(default=6, ge=1, le=1_000, description="Sorts of states that are begun in equally often.")
    over: float = Field(default=0.1, gt=0, le=1, description="Share of the run after which only the target is trained.")
    truncate: Whole | None = Field(
        default=100, ge=1, description="Steps after which an episode that begins midway is cut short; null does not."
    )


class NoParameters(Spec):
    """Parameters of a kind that has none."""


KINDS: Mapping[str, type[Spec]] = {
    "none": NoParameters,
    "uniform": NoParameters,
    "linear": LinearOptions,
    "stages": StagesOptions,
    "learning_progress": LearningProgressOptions,
    "alp_gmm": AlpGmmOptions,
    "again": AgainOptions,
    "riac": RiacOptions,
    "adr": AdrOptions,
    "plr": PlrOptions,
    "self_paced": SelfPacedOptions,
    "bandit": BanditOptions,
    "degrade": DegradeOptions,
    "failures": FailuresOptions,
    "snapshots": SnapshotsOptions,
    "middle_difficulty": MiddleDifficultyOptions,
    "item_response": ItemResponseOptions,
    "guidance": GuidanceOptions,
    "length_stages": LengthStagesOptions,
}
"""Kind → its parameters."""
OF_LANGUAGE = ("middle_difficulty", "item_response", "guidance", "length_stages")
"""Kinds that need problems whose solutions can be written: backend `llm` alone has them."""
OF_EPISODES = ("failures", "snapshots")
"""Kinds that need environments with episodes: every other backend has them."""

ON_TARGET = ("none", "failures", "item_response", "guidance", "length_stages")
"""Kinds whose tasks are all of the target: of the rest of the space their runs say nothing."""


class CurriculumSpec(Spec):
    """Which tasks are trained when. Further keys are parameters of the kind, or of the kinds that are searched."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(default="none", description="Curriculum: " + ", ".join(KINDS) + ".")

    @property
    def options(self) -> dict[str, Any]:
        """The keys that are parameters of a kind."""
        return dict(self.model_extra or {})


def resolved(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a curriculum with every parameter of its kind that a teacher takes, and without those of others.

    Args:
        asked: `kind`, and parameters of any kind.
    """
    known = KINDS[asked["kind"]].model_fields if asked["kind"] in KINDS else {}
    # Of the earlier study that is named only the niches reach a run: it must not depend on any study but its own.
    own = {name: asked.get(name, info.default) for name, info in known.items() if name != "learned_from"}
    return {"kind": asked["kind"], **own}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
