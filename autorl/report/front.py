"""What a study of several objectives, or with constraints, found: its front, and whether its constraints hold."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autorl.analysis import Estimate, estimate, hypervolume, hypervolume_gap, preferred
from autorl.engine import front as judged
from autorl.errors import AutorlError, did_you_mean
from autorl.ledger.records import TrialRecord
from autorl.report.words import interval, number, probability
from autorl.spec.objectives import ConstraintSpec, ObjectiveSpec
from autorl.trial import Phase

if TYPE_CHECKING:
    from autorl.report.findings import Findings

LATER: tuple[Phase, ...] = ("validation", "test")


@dataclass(frozen=True)
class Member:
    """A trial of the front, or the default configuration beside it.

    Attributes:
        trial: the trial.
        tuning: each objective over the tuning seeds that were trained furthest.
        validation: each objective over the validation seeds; empty unless all of them were trained.
        test: each objective over the test seeds, with its interval; empty unless all of them were trained.
        survives: by the test seeds alone, how likely no other member is at least as good in every objective and better
            in one; None unless it has been tested.
    """

    trial: TrialRecord
    tuning: tuple[float, ...]
    validation: tuple[float, ...]
    test: tuple[Estimate, ...]
    survives: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for `--format json`."""
        return {
            "trial": self.trial.number,
            "params": dict(self.trial.config.values),
            "tuning": list(self.tuning),
            "validation": list(self.validation),
            "test": [found.to_dict() for found in self.test],
            "undominated_on_test_seeds": self.survives,
        }


@dataclass(frozen=True)
class Front:
    """The trade-offs that a study found.

    Attributes:
        members: the trials of the front, then the default configuration if it is none of them.
        on: how many of the members are the front.
        reference: the point from which hypervolume is counted.
        tuning: the front's hypervolume by its tuning values.
        test: the same by the test seeds; None until all members have been tested.
        gap: by how much the tuning seeds overstate it; None until then, or where a member lacks a tuning seed.
        objectives: of the study.
    """

    members: tuple[Member, ...]
    on: int
    reference: tuple[float, ...]
    tuning: float
    test: float | None
    gap: Estimate | None
    objectives: tuple[ObjectiveSpec, ...]

    def prefer(self, weights: Mapping[str, float]) -> TrialRecord:
        """Return the trial of the front that somebody prefers who weighs the objectives so.

        Args:
            weights: objective's name → weight; the others count nothing.

        Raises:
            AutorlError: there is no such objective, or the weights are no weights.
        """
        names = [objective.name for objective in self.objectives]
        for name in weights:
            if name not in names:
                raise AutorlError(
                    f"'{name}' is no objective{did_you_mean(name, names)}; the objectives are {', '.join(names)}"
                )
        members = self.members[: self.on]
        # By the data that chose the front: validation's where there is some, else tuning's.
        again = all(member.validation for member in members)
        values = [member.validation if again else member.tuning for member in members]
        directions = [objective.direction for objective in self.objectives]
        try:
            row = preferred(values, directions, [weights.get(name, 0.0) for name in names])
        except ValueError as error:
            raise AutorlError(str(error)) from None
        return members[row].trial

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for `--format json`."""
        return {
            "trials": [member.trial.number for member in self.members[: self.on]],
            "members": [member.to_dict() for member in self.members],
            "reference": list(self.reference),
            "hypervolume": {"tuning": self.tuning, "test": self.test},
            "hypervolume_tuning_minus_test": None if self.gap is None else self.gap.to_dict(),
        }


@dataclass(frozen=True)
class Kept:
    """Whether the winner keeps to a constraint.

    Attributes:
        constraint: the constraint.
        likely: how likely it was said to, on as many new seeds as the test has, from the seeds that chose it.
        test: what it bounds, over the test seeds; None until all of them have been trained.
    """

    constraint: ConstraintSpec
    likely: float
    test: Estimate | None

    @property
    def holds(self) -> bool | None:
        """Whether it held on the test seeds; None until that is known."""
        if self.test is None:
            return None
        return self.constraint.sign * self.test.value <= self.constraint.sign * self.constraint.bound

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for `--format json`."""
        test = None if self.test is None else self.test.to_dict()
        return {"constraint": self.constraint.words, "probability": self.likely, "test": test, "holds": self.holds}


def in_full(found: Findings, trial: int, *phases: Phase) -> list[tuple[float, ...]]:
    """Return what a trial's full runs of some phases score for each measure, by phase and seed.

    Nothing if one of its runs failed, as in `autorl.engine.trials.Trials.in_full`.
    """
    runs = [run for phase in phases for run in found.runs.get(trial, ()) if run.phase == phase]
    if any(run.state == "failed" for run in runs):
        return []
    return [run.scores for run in runs if run.state == "completed" and run.scores]


def gather_front(found: Findings) -> Front | None:
    """Gather the front: the one that was chosen, or that of the tuning data so far; None with one objective."""
    spec = found.spec
    objectives = len(spec.objectives)
    if objectives == 1:
        return None
    chosen = [found.trials[number] for number in found.study.front]
    if not chosen:
        chosen = [trial for trial in judged.front(spec, found.ranked) if trial.values]
    if not chosen:
        return None
    beside = [trial for trial in found.trials[:1] if trial not in chosen and trial.values]
    tested = {t.number: _whole(found, t.number, "test") for t in [*chosen, *beside]}
    verdicts = judged.verdicts(spec, {number: own for number, own in tested.items() if own})
    members = []
    for trial in [*chosen, *beside]:
        test = tested[trial.number]
        again = _whole(found, trial.number, "validation")
        verdict = verdicts.get(trial.number)
        members.append(
            Member(
                trial,
                trial.values[:objectives],
                tuple(one.value for one in _estimates(found, again)),
                tuple(_estimates(found, test)),
                None if verdict is None else verdict.undominated,
            )
        )
    directions = [objective.direction for objective in spec.objectives]
    reference = judged.reference_point(spec, found.trials)
    of_front = members[: len(chosen)]
    on_test = gap = None
    if all(member.test for member in of_front):
        on_test = hypervolume([[one.value for one in m.test] for m in of_front], reference, directions)
        tuned = [_whole(found, member.trial.number, "tuning") for member in of_front]
        if all(tuned) and all(o.over_seeds == "mean" for o in spec.objectives):
            columns = slice(0, objectives)
            gap = hypervolume_gap(
                [np.array(own)[:, columns] for own in tuned],
                [np.array(tested[member.trial.number])[:, columns] for member in of_front],
                reference,
                directions,
            )
    tuning = hypervolume([member.tuning for member in of_front], reference, directions)
    return Front(tuple(members), len(chosen), tuple(reference), tuning, on_test, gap, spec.objectives)


@dataclass(frozen=True)
class Volume:
    """The hypervolume of what tuning had found after so much of it.

    Attributes:
        env_steps: environment steps of all tuning runs until then.
        trials: how many trials had finished.
        value: hypervolume of the values over seeds.
        by_seed: that of each tuning seed's scores by themselves.
    """

    env_steps: int
    trials: int
    value: float
    by_seed: tuple[float, ...]


MOST_VOLUMES = 100
"""Moments for which the hypervolume is counted at most."""


def volumes(found: Findings, reference: Sequence[float] | None = None) -> list[Volume]:
    """Follow the hypervolume of the trials that were trained in full on all tuning seeds, as they finished.

    Trials that are not likely enough to meet the constraints do not count.

    Args:
        found: the study.
        reference: the point from which it is counted; by default the study's own.
    """
    spec = found.spec
    objectives = len(spec.objectives)
    allowed = [trial for trial in found.trials if trial.verdict is None or trial.verdict.admissible]
    whole = [(trial, own) for trial in allowed if (own := _whole(found, trial.number, "tuning"))]
    whole.sort(key=lambda pair: pair[0].finished_at or pair[0].created_at)
    if objectives == 1 or not whole:
        return []
    directions = [objective.direction for objective in spec.objectives]
    reference = judged.reference_point(spec, found.trials) if reference is None else reference
    runs = sorted(
        (run.finished_at or 0.0, found.trained(run))
        for own in found.runs.values()
        for run in own
        if run.phase == "tuning" and run.finished_at is not None
    )
    ends, spent = [at for at, _ in runs], np.cumsum([steps for _, steps in runs])
    values = np.array([trial.values[:objectives] for trial, _ in whole])
    by_seed = np.array([own for _, own in whole])[:, :, :objectives]
    result = []
    for count in sorted({round(c) for c in np.linspace(1, len(whole), min(MOST_VOLUMES, len(whole)))}):
        at = bisect_right(ends, (whole[count - 1][0].finished_at or 0.0) + 1e-6)
        result.append(
            Volume(
                int(spent[max(at, 1) - 1]),
                count,
                hypervolume(values[:count], reference, directions),
                tuple(hypervolume(by_seed[:count, s], reference, directions) for s in range(by_seed.shape[1])),
            )
        )
    return result


def beside(studies: Sequence[Findings], budget: int) -> list[tuple[float | None, float | None]]:
    """Return the hypervolumes of studies of the same objectives, from one reference point: the worst of all of theirs.

    Args:
        studies: the studies.
        budget: environment steps of tuning.

    Returns:
        Of each, that of its tuning values when it had spent the budget, and that of its front on its test seeds; None
        where there is none.
    """
    objectives = studies[0].spec.objectives
    points = [judged.reference_point(found.spec, found.trials) for found in studies if found.front is not None]
    if not points:
        return [(None, None)] * len(studies)
    reference = [
        min((point[i] for point in points), key=lambda value: o.sign * value) for i, o in enumerate(objectives)
    ]
    result: list[tuple[float | None, float | None]] = []
    for found in studies:
        reached = [volume.value for volume in volumes(found, reference) if volume.env_steps <= budget]
        traded = found.front
        tested = None
        if traded is not None and traded.test is not None:
            values = [[one.value for one in member.test] for member in traded.members[: traded.on]]
            tested = hypervolume(values, reference, [objective.direction for objective in objectives])
        result.append((reached[-1] if reached else None, tested))
    return result


def gather_kept(found: Findings) -> list[Kept]:
    """Gather whether the winner, or the incumbent while there is none, keeps to each constraint."""
    best, spec = found.winner or found.incumbent, found.spec
    if best is None or not spec.constraints:
        return []
    phases: tuple[Phase, ...] = ("tuning", "validation") if found.winner is not None else ("tuning",)
    if not in_full(found, best.number, *phases):  # it failed on a validation seed, as all did that might have won
        phases = ("tuning",)
    known = judged.verdicts(spec, {trial.number: in_full(found, trial.number, *phases) for trial in found.trials})
    if best.number not in known:
        return []
    test = _whole(found, best.number, "test")
    result = []
    for index, (constraint, likely) in enumerate(zip(spec.constraints, known[best.number].feasible, strict=True)):
        bounded = [scores[len(spec.objectives) + index] for scores in test]
        result.append(Kept(constraint, likely, estimate(bounded) if bounded else None))
    return result


def front_sentences(found: Front, findings: Findings) -> list[str]:
    """Say what the front is worth, and which of its members survive the test seeds."""
    validated = any(_whole(findings, number, "validation") for number in findings.study.front)
    tuned = "tuning and validation seeds" if findings.spec.seeds.validation and validated else "tuning seeds"
    numbers = [member.trial.number for member in found.members[: found.on]]
    said = [
        f"On the {tuned} {_trials(numbers)} trade{'s' if len(numbers) == 1 else ''} off "
        f"{_listed([objective.words for objective in findings.spec.objectives])}: nothing is likely to beat "
        f"{'it' if len(numbers) == 1 else 'any of them'} in all."
    ]
    tested = [member for member in found.members if member.survives is not None]
    if found.test is not None:
        alive = [
            m.trial.number for m in tested if (m.survives or 0.0) >= judged.ON_THE_FRONT and m.trial.number in numbers
        ]
        gone = [number for number in numbers if number not in alive]
        seeds = len(findings.spec.seeds.test)
        said.append(
            f"On {seeds} test seeds that chose nothing {len(alive)} of {len(numbers)} stay on the front"
            + (f"; {_trials(gone)} {'does' if len(gone) == 1 else 'do'} not." if gone else ".")
        )
        how = "the objectives are not all means, so that the two cannot be compared"
        if found.gap is not None:
            how = f"tuning minus test {number(found.gap.value)}, {interval(found.gap)}"
        elif all(objective.over_seeds == "mean" for objective in findings.spec.objectives):
            how = "the tuning seeds of its members differ, so that the two cannot be compared"
        said.append(
            f"The front's hypervolume is {number(found.tuning)} by the tuning seeds and {number(found.test)} by the "
            f"test seeds ({how}), counted from {_point(findings, found.reference)}."
        )
    return said


def constraint_sentences(findings: Findings) -> list[str]:
    """Say whether the winner keeps to the constraints, and how likely it was said to."""
    said = []
    best = findings.winner or findings.incumbent
    for one in findings.kept:
        assert best is not None
        text = (
            f"Constraint {one.constraint.words}: from the seeds that chose it trial {best.number} was to meet it on "
            f"{len(findings.spec.seeds.test)} new seeds with probability {probability(one.likely)}"
        )
        if one.likely < one.constraint.probability:
            text += f", less than the {probability(one.constraint.probability)} asked for: no trial was more likely to"
        if one.test is not None:
            verb = "holds" if one.holds else "does not hold"
            text += f"; on the test seeds it {verb}: {number(one.test.value)} ({interval(one.test)})"
        said.append(f"{text}.")
    return said


def _whole(found: Findings, trial: int, phase: Phase) -> list[tuple[float, ...]]:
    """Return a trial's full runs of a phase, if there is one for each seed."""
    own = in_full(found, trial, phase)
    return own if len(own) == len(getattr(found.spec.seeds, phase)) else []


def _estimates(found: Findings, scores: Sequence[tuple[float, ...]]) -> list[Estimate]:
    if not scores:
        return []
    return [estimate([own[i] for own in scores], o.statistic) for i, o in enumerate(found.spec.objectives)]


def _trials(numbers: Sequence[int]) -> str:
    return f"trial {numbers[0]}" if len(numbers) == 1 else f"trials {_listed([str(number) for number in numbers])}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _point(findings: Findings, point: Sequence[float]) -> str:
    return _listed([f"{o.name} {number(at)}" for o, at in zip(findings.spec.objectives, point, strict=True)])
