"""Numbers and findings in words, the same on the terminal, in HTML and in exported files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from autorl.analysis import Estimate
from autorl.ledger.records import RunRecord, StudyRecord, TrialRecord
from autorl.report.findings import Findings
from autorl.spec.study import StudySpec
from autorl.trial import FailureClass

FAILURES: Mapping[FailureClass, str] = {
    "diverged": "diverged",
    "exception": "raised an exception",
    "out_of_memory": "out of memory",
    "crash": "crashed",
    "hang": "hung",
}


def state(study: StudyRecord) -> str:
    """Say what a study is doing: `finished`, or its phase and whether it is `running`, `paused` or `stopped`."""
    if study.state == "finished":
        return study.state
    return f"{study.state}, {'running' if study.live else 'paused' if study.paused else 'stopped'}"


def tries(run: RunRecord) -> str:
    """Say how the attempts at a run failed: `crashed 2 times, then hung`; empty if none did."""
    kinds = [(FAILURES[kind], len(list(same))) for kind, same in groupby(attempt.error_class for attempt in run.tries)]
    return ", then ".join(kind if count == 1 else f"{kind} {count} times" for kind, count in kinds)


def number(value: float | None, digits: int = 4) -> str:
    """Format a number with so many significant digits, and a missing one as a dash."""
    if value is None or math.isnan(value):
        return "–"
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e" in text else text


def probability(value: float) -> str:
    """Format a probability."""
    return f"{value:.2f}"


def interval(estimate: Estimate, show: Callable[[float], str] = number) -> str:
    """Format an estimate's interval; `show` formats its ends."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return "no interval: too few seeds"
    return f"{estimate.level:.0%} interval {show(estimate.low)} to {show(estimate.high)}"


def trained(spec: StudySpec, trial: TrialRecord) -> str:
    """Say how far a trial was trained in tuning: `5 seeds`, or `1 seed to 50%`."""
    if not trial.seeds:
        return "–"
    share = trial.env_steps / spec.budget.steps_per_run
    return f"{trial.seeds} seed{'s' * (trial.seeds > 1)}" + (f" to {share:.0%}" if share < 1 else "")


def setting(value: Any) -> str:
    """Format a hyperparameter's value."""
    if isinstance(value, float):
        return number(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def duration(seconds: float) -> str:
    """Format a duration."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def headline_lines(findings: Findings) -> list[tuple[str, str, str]]:
    """Return the headline as (what, value, interval); empty while there is none."""
    found = findings.headline
    if found is None:
        return []
    if findings.winner is not None and findings.winner.number == 0:
        # The default against itself: its score is all there is to say.
        return [("default, the winner", number(found.default.value), interval(found.default))]
    return [
        ("tuned", number(found.tuned.value), interval(found.tuned)),
        ("default", number(found.default.value), interval(found.default)),
        (
            "probability that tuned is better",
            probability(found.probability.value),
            interval(found.probability, probability),
        ),
    ]


def sentences(findings: Findings) -> list[str]:
    """Say what was found, and what it is worth, one finding a sentence."""
    if findings.winner is None:
        said = [_leading(findings), *_ended(findings)]
    else:
        said = [*_chosen(findings, findings.winner), *_expected(findings.winner)]
        said += [*_overstated(findings, findings.winner), *_ended(findings)]
        said += _tested_for_analysis(findings, findings.winner)
    if findings.failed:
        count = len(findings.failed)
        runs = "runs" if count > 1 else "run"
        said.append(
            f"{count} {runs} failed. A trial has no score over seeds on which it failed: see `autorl trials --failed`."
        )
    if findings.recovered:
        count = len(findings.recovered)
        kinds = Counter(attempt.error_class for run in findings.recovered for attempt in run.tries)
        why = ", ".join(f"{how_often} {FAILURES[kind]}" for kind, how_often in sorted(kinds.items()))
        said.append(f"{count} {'runs' if count > 1 else 'run'} failed at first and completed when tried again ({why}).")
    return said


def _leading(findings: Findings) -> str:
    best = findings.incumbent
    if best is None:
        finished = findings.study.state == "finished"
        return "Every trial failed: there is nothing to report." if finished else "No trial has finished yet."
    return (
        f"Trial {best.number} leads with a {findings.objective} of {number(best.value)} on the tuning seeds. "
        "That number is optimistic, since it was chosen for being the best; the test seeds will tell."
    )


def _chosen(findings: Findings, winner: TrialRecord) -> list[str]:
    spec, found = findings.spec, findings.headline
    chosen = "validation seeds" if spec.seeds.validation else "tuning seeds"
    if winner.number == 0:
        said = f"No trial beat the default configuration: the {chosen} chose trial 0, the default itself"
        if found is None:
            return [f"{said}."]
        return [f"{said}. On {_tested(spec)} it has a {findings.objective} of {number(found.default.value)}."]
    if found is None:
        if findings.study.state != "finished":
            return [f"Trial {winner.number} was chosen on the {chosen}; its test is not finished."]
        return [
            "A test run of the winner or of the default failed, so there is no headline: see `autorl trials --failed`."
        ]
    return [
        f"On {_tested(spec)}, the tuned configuration "
        f"(trial {winner.number}, chosen on the {chosen}) has a {findings.objective} of {number(found.tuned.value)}, "
        f"the default {number(found.default.value)}; on a fresh seed tuned is better with probability "
        f"{probability(found.probability.value)} ({interval(found.probability, probability)})."
    ]


def _tested(spec: StudySpec) -> str:
    seeds = len(spec.seeds.test)
    return f"{seeds} test seed{'s' * (seeds > 1)} that tuning never used"


def _ended(findings: Findings) -> list[str]:
    return [f"Tuning ended: {findings.study.ended}."] if findings.study.ended else []


def _expected(winner: TrialRecord) -> list[str]:
    believed = winner.posterior
    if believed is None:
        return []
    return [
        f"From tuning data alone {number(believed.mean)} was expected of it, with a 90% interval of "
        f"{number(believed.low)} to {number(believed.high)} for its score on the test seeds."
    ]


def _overstated(findings: Findings, winner: TrialRecord) -> list[str]:
    found = findings.headline
    if found is None or winner.value is None:
        return []
    gap = winner.value - found.tuned.value
    overstated = gap > 0 if findings.spec.objective.direction == "maximize" else gap < 0
    amount = number(abs(gap))
    outcome = f"it overstated the test score by {amount}" if overstated else f"the test score is {amount} better"
    seeds = winner.seeds
    return [f"The winner's tuning score was {number(winner.value)} on {seeds} seed{'s' * (seeds > 1)}: {outcome}."]


def _tested_for_analysis(findings: Findings, winner: TrialRecord) -> list[str]:
    tested = {n for n, runs in findings.runs.items() if any(run.phase == "test" for run in runs)}
    count = len(tested - {0, winner.number})
    if not count:
        return []
    trials = "trials were" if count > 1 else "trial was"
    return [
        f"{count} more {trials} trained on the test seeds, for analysis: picking the best of them by test score "
        "would be selection on the test set."
    ]
