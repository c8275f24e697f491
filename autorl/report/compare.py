"""Studies side by side, at equal budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from typing import Any

from autorl.analysis import Estimate, difference, probability_on_a_fresh_seed
from autorl.engine.selection import better
from autorl.errors import AutorlError
from autorl.ledger.records import TrialRecord
from autorl.report.findings import Findings
from autorl.report.front import beside
from autorl.report.words import interval, number, probability, wins


@dataclass(frozen=True)
class Milestone:
    """A trial that took the lead in tuning.

    Attributes:
        env_steps: environment steps that tuning had taken by then, over all trials and seeds.
        trial: the trial.
    """

    env_steps: int
    trial: TrialRecord


@dataclass(frozen=True)
class Side:
    """A study in a comparison.

    Attributes:
        found: the study.
        lead: how the lead changed during tuning.
        at_equal_budget: who led when as much had been spent as the study that spent least did.
        test: the winner's score on the test seeds, once all of them are trained.
        hypervolume: with several objectives, that of the tuning values at equal budget and that of the front on the
            test seeds, both from the worst point of all studies; None where there is none.
    """

    found: Findings
    lead: tuple[Milestone, ...]
    at_equal_budget: Milestone | None
    test: Estimate | None
    hypervolume: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Pair:
    """The winners of two studies on their test seeds.

    Attributes:
        first: the study that is compared.
        second: what it is compared with.
        difference: how much better `first` is (positive: better, whichever direction is), with its interval.
        better: probability that it is better on a fresh seed.
    """

    first: str
    second: str
    difference: Estimate
    better: Estimate


@dataclass(frozen=True)
class Comparison:
    """Studies side by side.

    Attributes:
        sides: the studies, in the order asked for.
        budget: environment steps of tuning at which they are compared: the least that any of them spent.
        pairs: each later study against the first, where both winners are tested.
        cautions: what a reader should know, in sentences.
    """

    sides: tuple[Side, ...]
    budget: int
    pairs: tuple[Pair, ...]
    cautions: tuple[str, ...]

    def _repr_html_(self) -> str:
        """Return what a notebook shows of it: the text of `autorl compare`."""
        from autorl.report import text  # which imports this

        return f"<pre>{escape(text.captured(lambda console: text.show_comparison(self, console)))}</pre>"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for `--format json`."""
        return {
            "budget": self.budget,
            "studies": [
                {
                    "study": side.found.study.name,
                    "optimizer": side.found.spec.optimizer.name,
                    "tuning_env_steps": int(side.found.spent["tuning"]["env_steps"]),
                    "trial_at_equal_budget": side.at_equal_budget.trial.number if side.at_equal_budget else None,
                    "value_at_equal_budget": side.at_equal_budget.trial.value if side.at_equal_budget else None,
                    "winner": side.found.winner.number if side.found.winner else None,
                    "test": side.test.to_dict() if side.test else None,
                    "hypervolume_at_equal_budget": side.hypervolume[0],
                    "hypervolume_on_test_seeds": side.hypervolume[1],
                }
                for side in self.sides
            ],
            "pairs": [
                {
                    "first": p.first,
                    "second": p.second,
                    "difference": p.difference.to_dict(),
                    "better": p.better.to_dict(),
                }
                for p in self.pairs
            ],
            "cautions": list(self.cautions),
        }


def compare(studies: Sequence[Findings]) -> Comparison:
    """Put studies side by side.

    Raises:
        AutorlError: there are fewer than two, or their objectives differ.
    """
    if len(studies) < 2:
        raise AutorlError("a comparison needs at least two studies")
    objectives = [", ".join(f"{o.direction} {o.words}" for o in found.spec.objectives) for found in studies]
    if len(set(objectives)) > 1:
        said = "; ".join(f"{f.study.name}: {objective}" for f, objective in zip(studies, objectives, strict=True))
        raise AutorlError(f"studies of different objectives cannot be compared: {said}")
    budget = min(int(found.spent["tuning"]["env_steps"]) for found in studies)
    several = len(studies[0].spec.objectives) > 1
    hypervolumes = beside(studies, budget) if several else [(None, None)] * len(studies)
    sides = tuple(_side(found, budget, own) for found, own in zip(studies, hypervolumes, strict=True))
    pairs = tuple(pair for side in sides[1:] if (pair := _pair(side, sides[0])) is not None)
    return Comparison(sides, budget, pairs, tuple(_cautions(sides, budget)))


def _side(found: Findings, budget: int, hypervolume: tuple[float | None, float | None]) -> Side:
    lead = tuple(leaders(found))
    reached = [milestone for milestone in lead if milestone.env_steps <= budget]
    test = None if found.winner is None else found.tested(found.winner.number)
    return Side(found, lead, reached[-1] if reached else None, test, hypervolume)


def leaders(found: Findings) -> list[Milestone]:
    """Return how the lead changed during tuning, by what is known of the trials now.

    A trial counts from when the last of its tuning runs had finished.
    """
    runs = [run for own in found.runs.values() for run in own if run.phase == "tuning" and run.finished_at is not None]
    spent, steps = 0, {}
    for run in sorted(runs, key=lambda run: (run.finished_at or 0.0, run.trial, run.seed)):
        spent += found.trained(run)
        steps[run.trial] = spent
    result: list[Milestone] = []
    scored = [trial for trial in found.trials if trial.value is not None and trial.number in steps]
    for trial in sorted(scored, key=lambda trial: steps[trial.number]):
        if not result or better(trial, result[-1].trial, found.spec.objective.direction):
            result.append(Milestone(steps[trial.number], trial))
    return result


def _pair(side: Side, other: Side) -> Pair | None:
    scores = []
    for each in (side, other):
        if each.test is None or each.found.winner is None:
            return None
        scores.append(each.found.scores(each.found.winner.number, "test"))
    objective = side.found.spec.objective
    higher = objective.direction == "maximize"
    apart = difference(*(scores if higher else scores[::-1]), statistic=objective.statistic)
    better = probability_on_a_fresh_seed(*scores, statistic=objective.statistic, direction=objective.direction)
    return Pair(side.found.study.name, other.found.study.name, apart, better)


def _cautions(sides: Sequence[Side], budget: int) -> list[str]:
    said = []
    for what, values in {
        "tasks": [side.found.spec.task.env for side in sides],
        "algorithms": [side.found.spec.algorithm.name for side in sides],
        "environment steps a run": [f"{side.found.spec.budget.steps_per_run:,}" for side in sides],
    }.items():
        if len(set(values)) > 1:
            said.append(f"their {what} differ: {', '.join(values)}")
    tasks = {side.found.spec.task.env: side.found.spec.task for side in sides}
    if any(side.found.spec.task != tasks[side.found.spec.task.env] for side in sides):
        said.append("their settings of the task differ: see `task` in the study files")
    if any(side.found.spec.evaluation != sides[0].found.spec.evaluation for side in sides):
        said.append("they are evaluated differently: see `evaluation` in the study files")
    spent = [int(side.found.spent["tuning"]["env_steps"]) for side in sides]
    if max(spent) > 1.1 * budget:
        said.append(
            "they spent different amounts on tuning: the winners on the test seeds are those of "
            f"{', '.join(f'{steps:,}' for steps in spent)} environment steps"
        )
    for first, second in combinations(sides, 2):
        shared = set(first.found.spec.seeds.test) & set(second.found.spec.seeds.tuning)
        shared |= set(second.found.spec.seeds.test) & set(first.found.spec.seeds.tuning)
        if shared:
            said.append(
                f"{first.found.study.name} and {second.found.study.name} test on seeds that the other one tuned on "
                f"({len(shared)} of them)"
            )
    unfinished = [side.found.study.name for side in sides if side.test is None]
    if unfinished:
        said.append(f"without a test score: {', '.join(unfinished)}")
    return said


def sentences(comparison: Comparison) -> list[str]:
    """Say what a comparison found."""
    said = []
    if len(comparison.sides[0].found.spec.objectives) > 1:
        named = [(side.found.study.name, *side.hypervolume) for side in comparison.sides]
        said.append(
            "Hypervolume by tuning at equal budget and of the front on the test seeds: "
            + "; ".join(f"{name} {number(tuned)}, {number(tested)}" for name, tuned, tested in named)
            + f". What follows is {comparison.sides[0].found.objective} alone."
        )
    objective = comparison.sides[0].found.spec.objective
    for pair in comparison.pairs:
        amount = pair.difference.value
        known = pair.better if math.isnan(pair.difference.low) else pair.difference
        even = 0.5 if known is pair.better else 0.0
        told = known.low > even or known.high < even
        how = f"{number(abs(amount))} {'worse' if amount < 0 else 'better'} than" if amount else "as good as"
        chance = f"{probability(pair.better.value)} ({interval(pair.better, probability)})"
        won = wins(objective)
        said.append(
            f"On their test seeds the winner of {pair.first} is {how} that of {pair.second} (difference "
            f"{number(amount)}, {interval(pair.difference)}); on a fresh seed it is {won} with probability {chance}"
            + ("." if told else ": these seeds do not tell the two apart.")
        )
    return said
