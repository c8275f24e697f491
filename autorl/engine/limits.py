"""What ends tuning although there is budget left: time, a target, or no further gain expected."""

from __future__ import annotations

from autorl.analysis import gain_of_doubling
from autorl.engine.trials import Trials
from autorl.ledger.records import TrialRecord
from autorl.spec.study import StudySpec

GAIN_TRIALS = 16  # fewer say too little of what a better one would be


def limit_reached(spec: StudySpec, trials: Trials, tuning_seconds: float) -> str:
    """Return why tuning should end, or nothing."""
    budget = spec.budget
    if budget.seconds is not None and tuning_seconds >= budget.seconds:
        return f"its {budget.seconds:g} seconds are over"
    # Trials that meet the constraints are ranked first: unless the incumbent does, none does.
    best = trials.incumbent if trials.incumbent is not None and _allowed(spec, trials.incumbent) else None
    sign = spec.objective.sign
    worth = best.worth if best is not None else None
    if best is not None and worth is not None and budget.target is not None and sign * worth >= sign * budget.target:
        return f"trial {best.number} reached the target of {budget.target:g}"
    if budget.gain is not None:
        allowed = [trial for trial in trials.ranked if _allowed(spec, trial)]
        scores = [sign * t.worth for t in allowed if t.env_steps == allowed[0].env_steps and t.worth is not None]
        if len(scores) >= GAIN_TRIALS and (gain := gain_of_doubling(scores)) < budget.gain:
            return f"as much training again is expected to gain {gain:.3g}, less than {budget.gain:g}"
    return ""


def _allowed(spec: StudySpec, trial: TrialRecord) -> bool:
    """Say whether a trial is known to meet the constraints, if there are any."""
    return not spec.constraints or (trial.verdict is not None and trial.verdict.admissible)
