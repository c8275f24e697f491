"""Choose among trials by the data of the phases that may choose: tuning, then validation; never test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autorl.analysis import aggregate
from autorl.ledger.records import TrialRecord
from autorl.spec.objectives import ObjectiveSpec
from autorl.trial import Verdict


def rank(trials: Sequence[TrialRecord], direction: str) -> list[TrialRecord]:
    """Return the trials that have a value, the best first; the first is the incumbent.

    Trials that meet the constraints come first, then those not judged yet, then the others, the likeliest to meet them
    first. With several objectives those come first that most likely nothing dominates. Where the optimizer has a
    belief, it decides. Otherwise trials that were trained further, and then on more seeds, come before the others: a
    score halfway is none. Of equals the earlier is better, so that the default wins its ties.
    """
    sign = -1.0 if direction == "maximize" else 1.0

    def key(trial: TrialRecord) -> tuple[float, ...]:
        believed = trial.posterior is not None
        mean = sign * trial.posterior.mean if trial.posterior is not None else 0.0
        verdict = trial.verdict
        judged = (1.0, 0.0, 0.0)
        if verdict is not None:
            missed = 0.0 if verdict.admissible else -min(verdict.feasible)
            judged = (0.0 if verdict.admissible else 2.0, missed, -(verdict.undominated or 0.0))
        return (*judged, not believed, mean, -trial.env_steps, -trial.seeds, sign * (trial.value or 0.0), trial.number)

    return sorted((trial for trial in trials if trial.value is not None), key=key)


def better(trial: TrialRecord, incumbent: TrialRecord | None, direction: str) -> bool:
    """Say whether a trial with a value takes the incumbent's place: it would come before it in `rank`."""
    return incumbent is None or rank([incumbent, trial], direction)[0] is trial


def choose(
    candidates: Sequence[TrialRecord],
    scores: Mapping[int, Sequence[float]],
    seeds: Sequence[int],
    objective: ObjectiveSpec,
    verdicts: Mapping[int, Verdict],
) -> int | None:
    """Choose the winner of a study with one objective.

    Args:
        candidates: trials in the order of their tuning value.
        scores: trial → scores on the validation seeds; a trial with a failed run has fewer than there are seeds.
        seeds: the validation seeds; without any, tuning data has chosen.
        objective: what is better.
        verdicts: trial → what all of its runs so far say of the constraints; empty where there are none.

    Returns:
        The winner's number: the best by validation of those that meet the constraints, of equals the better by tuning;
        if none meets them, the one that most likely does. None if no trial has finished.
    """
    if not candidates:
        return None
    whole = [trial for trial in candidates if len(scores[trial.number]) == len(seeds)]
    if not seeds or not whole:
        return candidates[0].number
    if verdicts and not any(verdicts[trial.number].admissible for trial in whole):
        return max(whole, key=lambda trial: min(verdicts[trial.number].feasible)).number
    allowed = [trial for trial in whole if not verdicts or verdicts[trial.number].admissible]
    worth = {trial.number: aggregate(list(scores[trial.number]), objective.statistic) for trial in allowed}
    return min(allowed, key=lambda trial: -objective.sign * worth[trial.number]).number
