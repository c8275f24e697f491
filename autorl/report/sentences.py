"""What a study found, in sentences: the same on the terminal, in HTML and on the dashboard."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from autorl.analysis import prediction
from autorl.ledger.records import TrialRecord
from autorl.report.evidence import Evidence, evidence, tuning_minus_test
from autorl.report.findings import Findings
from autorl.report.front import constraint_sentences, front_sentences
from autorl.report.influence import Influence
from autorl.report.words import FAILURES, interval, number, probability, wins
from autorl.spec.objectives import ObjectiveSpec
from autorl.spec.study import StudySpec

LITTLE_EXPLAINED = 0.1
WORTH_SAYING = 0.05
WORTH_SAVING = 1.05
MOST_NAMED = 3
CHANCE = 0.05
"""Seeds are said to agree if by chance they would do so less often than this."""


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
            f"probability that tuned is {wins(findings.spec.objective)}",
            probability(found.probability.value),
            interval(found.probability, probability),
        ),
    ]


def sentences(findings: Findings) -> list[str]:
    """Say what was found, and what it is worth, one finding a sentence."""
    if findings.front is not None:
        knee = findings.winner
        said = front_sentences(findings.front, findings)
        said += [*([] if knee is None else _knee(findings, knee)), *constraint_sentences(findings), *_ended(findings)]
    elif findings.winner is None:
        said = [_leading(findings), *constraint_sentences(findings), *_ended(findings)]
    else:
        said = [*_chosen(findings, findings.winner), *_expected(findings.winner)]
        said += [*_overstated(findings, findings.winner), *constraint_sentences(findings), *_ended(findings)]
        said += _tested_for_analysis(findings, findings.winner)
    if len(findings.spec.objectives) == 1:
        said += _seeds(findings, evidence(findings))
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
    if findings.spec.algorithm.backend == "llm":
        said.append(
            "No run trained on a problem that any run is evaluated on: a problem's text decides which are held out, "
            "and each phase has held-out problems of its own."
        )
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
        tested = f"{said}. On {_tested(spec)} it has a {findings.objective} of {number(found.default.value)}."
        return [tested, *again(findings)]
    if found is None:
        if findings.study.state != "finished":
            return [f"Trial {winner.number} was chosen on the {chosen}; its test is not finished."]
        return [
            "A test run of the winner or of the default failed, so there is no headline: see `autorl trials --failed`."
        ]
    return [
        f"On {_tested(spec)}, the tuned configuration "
        f"(trial {winner.number}, chosen on the {chosen}) has a {findings.objective} of {number(found.tuned.value)}, "
        f"the default {number(found.default.value)}; on a fresh seed tuned is {wins(spec.objective)} with probability "
        f"{probability(found.probability.value)} ({interval(found.probability, probability)}).",
        *again(findings),
    ]


def again(findings: Findings) -> list[str]:
    """Say what the winner should come to when others train it on as many seeds of their own."""
    winner, statistic = findings.winner, findings.spec.objective.over_seeds
    if winner is None or (statistic != "mean" and statistic != "iqm"):
        return []
    scores = findings.scores(winner.number, "test")
    if len(scores) < 2 or len(scores) != len(findings.spec.seeds.test):
        return []
    expected = prediction(scores, len(scores), statistic)
    if expected.low == expected.high and min(scores) == max(scores):
        return ["These seeds show no spread, so they cannot say how far those of others will scatter."]
    if expected.low == expected.high:
        return [
            f"The {len(scores)} seeds went from {number(min(scores))} to {number(max(scores))}, and those that the "
            f"{statistic} looks at show no spread, so they cannot say how far that of others will scatter."
        ]
    return [
        f"Trained again on {len(scores)} other seeds, trial {winner.number} should have a {findings.objective} of "
        f"{number(expected.low)} to {number(expected.high)} ({expected.level:.0%} prediction interval)."
    ]


def _knee(findings: Findings, winner: TrialRecord) -> list[str]:
    """Compare the knee of the front with the default in every objective."""
    if winner.number == 0 or not findings.headlines:
        return [f"The knee of the front is trial {winner.number}{', the default' * (winner.number == 0)}."]
    compared = [
        f"{objective.words} {number(found.tuned.value)} against the default's {number(found.default.value)}, "
        f"{wins(objective)} on a fresh seed with probability {probability(found.probability.value)} "
        f"({interval(found.probability, probability)})"
        for objective, found in zip(findings.spec.objectives, findings.headlines, strict=True)
    ]
    return [f"On {_tested(findings.spec)} the knee of the front, trial {winner.number}, has {'; '.join(compared)}."]


def _tested(spec: StudySpec) -> str:
    seeds = len(spec.seeds.test)
    return f"{seeds} test seed{'s' * (seeds > 1)} that tuning never used"


def _ended(findings: Findings) -> list[str]:
    if not findings.study.ended:
        return []
    said = [f"Tuning ended: {findings.study.ended}."]
    if findings.saved is not None and findings.saved > WORTH_SAVING:
        said.append(
            f"Training its {len(findings.trials)} trials in full on every tuning seed would have taken "
            f"{number(findings.saved, 2)} times as many environment steps."
        )
    return said


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
    outcome = outcome if gap else "the test score is the same"
    seeds, between = winner.seeds, tuning_minus_test(findings, winner.number)
    known = "" if between is None or between.low == between.high else f" (tuning minus test: {interval(between)})"
    return [
        f"The winner's tuning score was {number(winner.value)} on {seeds} seed{'s' * (seeds > 1)}: {outcome}{known}."
    ]


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


def _seeds(findings: Findings, seen: Evidence) -> list[str]:
    """Say what the tuning seeds tell of themselves."""
    if seen.split is None:
        return []
    count, seeds = len(seen.trials), len(findings.spec.seeds.tuning)
    said = []
    if seen.curse is not None:
        loss = number(seen.curse, 3) if seen.curse > 0 else "nothing"
        said.append(
            f"The best tuning score of {count} trials on all {seeds} tuning seeds is expected to lose {loss} on new "
            "ones, for having been chosen (the winner's curse, from tuning data alone)."
        )
    share = seen.split.consistency
    if not math.isnan(share.value):
        said.append(
            f"A single seed tells these trials apart with a consistency of {probability(share.value)} "
            f"({interval(share, probability)}): 1 means that any one seed ranks them right, 0 that it says nothing."
        )
    (first, top), (second, next_best) = seen.best
    # With constraints the best two may be ones that nobody would choose.
    if top == next_best or findings.spec.objective.over_seeds != "mean" or findings.spec.constraints:
        return said
    told = f"Trials {first} and {second}, the best two on these seeds ({number(top)} and {number(next_best)}),"
    if seen.needed is None:
        said.append(f"{told} are too close to be told apart by any number of seeds that one would train.")
    elif seen.needed > seeds:
        said.append(
            f"{seeds} seeds are too few to tell the best two trials apart ({first}: {number(top)}, {second}: "
            f"{number(next_best)}): about {seen.needed:,} each would be needed, if they differ by what it seems."
        )
    else:
        said.append(f"{told} differ enough for {seeds} seeds to tell them apart.")
    return said


def what_matters(seen: Sequence[Influence | str], objectives: Sequence[ObjectiveSpec]) -> list[str]:
    """Say which hyperparameters matter for each objective, or why that is not known.

    Args:
        seen: of each objective, what `autorl.report.influence.influence` returned.
        objectives: the study's.
    """
    if len(seen) == 1 or (isinstance(seen[0], str) and all(each == seen[0] for each in seen)):
        return influences(seen[0])
    return [
        said_of(objective, sentence)
        for each, objective in zip(seen, objectives, strict=True)
        for sentence in influences(each)
    ]


def said_of(objective: ObjectiveSpec, sentence: str) -> str:
    """Return a sentence that names the one of several objectives that it is about."""
    return f"{objective.words[0].upper()}{objective.words[1:]}: {sentence[0].lower()}{sentence[1:]}"


def influences(seen: Influence | str) -> list[str]:
    """Say which hyperparameters matter for an objective, or why that is not known."""
    if isinstance(seen, str):
        return [seen]
    said = _matters(seen)
    if seen.failed:
        trials, are = ("trials", "are") if seen.failed > 1 else ("trial", "is")
        said.insert(
            1,
            f"{seen.failed} {trials} with a failed run {are} not in the model: it does not know which hyperparameters "
            "make training fail.",
        )
    return said


def _matters(seen: Influence) -> list[str]:
    explained = seen.forest.explained
    learned = f"a model of {len(seen.trials)} trials"
    if explained < LITTLE_EXPLAINED:
        return [
            f"Which hyperparameters matter is not known: {learned} explains {max(0.0, explained):.0%} of the variance "
            "of scores that it has not seen."
        ]
    top = [i for i in seen.ranked if seen.fanova[i] >= WORTH_SAYING][:MOST_NAMED]
    named = [f"{seen.names[i]} ({seen.fanova[i]:.0%})" for i in top]
    said = [
        f"What matters most is {_and(named)}: shares of the score's variance over the search space, by {learned} "
        f"that explains {explained:.0%} of the variance of scores that it has not seen."
        if named
        else f"No hyperparameter explains {WORTH_SAYING:.0%} of the score's variance by itself."
    ]
    if seen.agreement is not None and seen.chance_of_agreement is not None:
        agree = seen.chance_of_agreement < CHANCE
        verdict = "agree, more than those that order at random," if agree else "do not agree beyond chance"
        said.append(
            f"The seeds {verdict} on the order of the hyperparameters (Kendall's W of {len(seen.by_seed)} seeds: "
            f"{probability(seen.agreement)}, p = {number(seen.chance_of_agreement, 2)})."
        )
    return said


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
