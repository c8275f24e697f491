"""The trials of a study as a table, and the configuration and runs of those that are selected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st
from board import data, show, tables

from autorl.errors import ExportError
from autorl.ledger.records import TrialRecord
from autorl.report.export import render
from autorl.report.findings import Findings
from autorl.report.words import setting, tries
from autorl.spec.space import Choice


def main() -> None:
    """Show the page."""
    found = data.selected()
    st.title("Trials", anchor=False)
    if not found.trials:
        st.info("No trial has been proposed yet.")
        return
    which = tables.listed(found)
    broken = {run.trial for run in found.failed}
    st.markdown(_summary(found, broken))
    if broken and st.toggle(f"Only the {len(broken)} with a failed run", key="broken"):
        which = [trial for trial in which if trial.number in broken]
    which = _filtered(found, which)
    if not which:
        st.info("No trial is left by these filters.")
        return
    chosen = _table(found, which)
    st.subheader("Configuration", anchor=False)
    st.dataframe(tables.configurations(found, chosen), hide_index=True)
    if found.spec.space.parents:
        st.caption(f"{tables.NONE}: the hyperparameter is not active in this configuration.")
    for trial in chosen:
        _export(found, trial)
        _runs(found, trial)


def _filtered(found: Findings, which: list[TrialRecord]) -> list[TrialRecord]:
    """Let the user keep the trials with some values of hyperparameters."""
    names = [parameter.name for parameter in found.spec.space]
    with st.expander("Filter by hyperparameters"):
        key = f"filters-{found.study.name}"
        for name in st.multiselect("Hyperparameters", names, key=key, bind="query-params"):
            parameter, key = found.spec.space[name], f"filter-{found.study.name}-{name}"
            if isinstance(parameter.domain, Choice):
                labels = {setting(value): value for value in parameter.domain.values}
                kept = st.multiselect(name, list(labels), default=list(labels), key=key, bind="query-params")
                which = [trial for trial in which if setting(trial.config.values.get(name)) in kept]
                continue
            numbers = {trial.number: figure for trial in which if (figure := _real(trial, name)) is not None}
            values = numbers.values()
            if not values or min(values) == max(values):
                st.caption(f"{name}: no choice is left.")
                continue
            low, high = st.columns(2)
            least = low.number_input(f"{name} from", value=float(min(values)), format="%.6g", key=f"{key}-low")
            most = high.number_input(f"{name} to", value=float(max(values)), format="%.6g", key=f"{key}-high")
            which = [trial for trial in which if least <= numbers.get(trial.number, math.nan) <= most]
    return which


def _real(trial: TrialRecord, name: str) -> float | None:
    """Return a hyperparameter's value if it is a number: an algorithm's default may be a word, such as `auto`."""
    value = trial.config.values.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _export(found: Findings, trial: TrialRecord) -> None:
    """Offer a trial as a script for the user's own training code, if it can be one."""
    try:
        text = render(found, trial, "sb3")
    except ExportError:
        return
    st.download_button(
        f"Export trial {trial.number} as a Stable-Baselines3 script",
        text,
        f"{found.study.name}-trial-{trial.number}.py",
        "text/x-python",
        key=f"export-{trial.number}",
        on_click="ignore",
        icon=":material/download:",
    )


def _summary(found: Findings, broken: set[int]) -> str:
    """Say how many trials there are and what became of them."""
    running = sum(trial.state == "running" for trial in found.trials)
    said = f"{len(found.ranked)} of {len(found.trials)} trials have a score"
    said += f", {running} {'are' if running != 1 else 'is'} not finished" if running else ""
    said += f", {len(broken)} {'have' if len(broken) != 1 else 'has'} a failed run" if broken else ""
    return f"{said}. The best by tuning data comes first."


def _table(found: Findings, which: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Show the trials and return those selected, or the first while none is."""
    frame = tables.trials(found, which)
    seeds = len(found.spec.seeds.tuning)
    config: dict[str, Any] = {
        "role": st.column_config.TextColumn(width=110),
        "tuning": st.column_config.NumberColumn(help=f"{found.objective} over {seeds} tuning seeds"),
        "by seed": st.column_config.TextColumn(help=f"{found.spec.objective.metric} on each tuning seed"),
        "validation": st.column_config.NumberColumn(help=f"{found.objective} over the validation seeds"),
        "test": st.column_config.NumberColumn(help=f"{found.objective} over the test seeds"),
        "trial": st.column_config.NumberColumn(pinned=True),
    }
    event: Any = st.dataframe(
        show.rounded(frame),
        hide_index=True,
        placeholder=tables.NONE,
        column_config=config,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"trials-{found.study.name}-{len(which)}",  # a selection is of rows: it must not outlive the rows
    )
    show.download(frame, "trials")
    rows = [row for row in event.selection.rows if row < len(which)]
    if rows:
        return [which[row] for row in rows]
    best = found.winner or found.incumbent
    first = next((trial for trial in which if best is not None and trial.number == best.number), which[0])
    name = tables.named(found, first.number)
    st.caption(f"Select rows to compare their configurations and see their runs. Until then below: {name}.")
    return [first]


def _runs(found: Findings, trial: TrialRecord) -> None:
    """Show the runs of a trial, and what those that failed failed with."""
    st.subheader(f"Runs of {tables.named(found, trial.number)}", anchor=False)
    st.dataframe(tables.runs(found, trial.number), hide_index=True)
    for run in found.runs.get(trial.number, ()):
        if run.state == "failed":
            st.error(f"{run.phase} seed {run.seed} failed: {tries(run) or run.error_class}")
            st.code((run.error or "It left no message.").rstrip(), language=None, wrap_lines=True)


main()
