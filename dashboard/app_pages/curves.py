"""Learning curves of some trials, seed by seed, with the band over the seeds."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from board import choices, curves, data, learning, show
from board.tables import listed, named

from autorl.report.findings import Findings
from autorl.trial import Phase


def main() -> None:
    """Show the page."""
    found = data.selected()
    st.title("Learning curves", anchor=False)
    if not found.trials:
        st.info("No trial has been proposed yet.")
        return
    left, right = st.columns([2, 1])
    with left:
        trials = _trials(found)
    with right:
        phase = choices.phase(found)
    if not trials:
        st.info("Choose a trial above.")
        return
    records = data.curves(data.storage(), found.study.name, tuple(trials), phase)
    measured = dict.fromkeys(name for record in records for point in record.points for name in point.metrics)
    metric = found.spec.curve_metric
    if len(measured) > 1:
        names = sorted(measured, key=lambda name: (name != metric, name))
        metric = st.selectbox("Metric", names, key=f"metric-{found.study.name}", bind="query-params", width=260)
    shown = curves.picture(found, trials, phase, metric, records)
    if shown is not None:
        missing = [named(found, trial) for trial in trials if not any(r.run.trial == trial for r in records)]
        show.picture(shown, "curves")
        if missing:
            st.caption(f"Without a curve on the {phase} seeds: {', '.join(missing)}.")
        if metric == found.spec.curve_metric:  # of another one nobody said which way is better
            _numbers(found, curves.summaries(found, trials, metric, records), phase)
    else:
        st.info(_nothing(found, phase))
    sample = learning.sample(found)
    if len(sample) >= learning.FEWEST_TRIALS:
        early = learning.early(found, data.curves(data.storage(), found.study.name, sample, "tuning"), metric)
        if early is not None:
            show.picture(early, "early")


def _numbers(found: Findings, shown: Mapping[int, curves.Curves], phase: Phase) -> None:
    """Show what the curves say in numbers."""
    ends = [own.middle[-1] for own in shown.values() if own.steps]
    if not ends:
        return
    usual = float(min(ends) if found.spec.middle_direction == "maximize" else max(ends))
    threshold = st.number_input(
        "Threshold to be reached", value=usual, key=f"threshold-{found.study.name}-{usual}", width=260
    )
    numbers = learning.table(found, shown, phase, threshold)
    if len(numbers):
        st.dataframe(numbers, hide_index=True)
        st.caption(
            "Steps to a threshold count seeds that never reach it, those that failed among them. The best of noisy "
            "evaluations is optimistic, so some loss is to be expected. Where a curve was going is what a sigmoid in "
            "the logarithm of steps approaches (The Art of Scaling Reinforcement Learning Compute, 2025)."
        )


def _trials(found: Findings) -> list[int]:
    """Let the user choose trials; at first the best one and the default configuration."""
    best = found.winner or found.incumbent
    usual = list(dict.fromkeys([best.number if best else 0, 0]))
    return st.multiselect(
        "Trials",
        [trial.number for trial in listed(found)],
        default=usual,
        format_func=lambda number: named(found, number),
        max_selections=curves.MOST_TRIALS,
        # One key a study: numbers chosen for one study mean nothing in another.
        key=f"trials-of-{found.study.name}",
        bind="query-params",
    )


def _nothing(found: Findings, phase: Phase) -> str:
    """Say why there is no curve."""
    if phase == "tuning" or found.winner is None:
        return f"None of these trials has a curve on the {phase} seeds yet: a run leaves one when it has finished."
    return f"None of these trials was trained on the {phase} seeds. Only winner, default and retested trials are."


main()
