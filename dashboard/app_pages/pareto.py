"""Trade-offs: the front of several objectives and what keeps to the constraints; with one objective, score and cost."""

from __future__ import annotations

from typing import Any

import streamlit as st
from board import data, front, show, tables, tradeoff

from autorl.report.findings import Findings
from autorl.report.front import Front
from autorl.trial import Phase


def main() -> None:
    """Show the page."""
    found = data.selected()
    st.title("Trade-offs", anchor=False)
    if len(found.spec.objectives) > 1:
        _objectives(found)
    else:
        _score_and_cost(found)
    for index in range(len(found.spec.constraints)):
        shown = front.constraint(found, index)
        if shown is not None:
            show.picture(shown, f"constraint-{index}")


def _score_and_cost(found: Findings) -> None:
    costs = list(tradeoff.COSTS)
    cost = st.segmented_control(
        "Cost of a run", costs, default=costs[0], required=True, key="cost", bind="query-params"
    )
    shown = tradeoff.picture(found, tradeoff.COSTS[cost])
    if shown is None:
        st.info("No trial has been trained in full yet: only then is its cost known.")
        return
    show.picture(shown, "front")


def _objectives(found: Findings) -> None:
    traded = found.front
    if traded is None:
        st.info("No trial has been trained in full yet: until then there is no front.")
        return
    names = [objective.name for objective in found.spec.objectives]
    left, right, seeds = st.columns(3)
    key = found.study.name
    across = left.selectbox("Across", names, index=0, key=f"across-{key}")
    up = right.selectbox("Up", names, index=1, key=f"up-{key}")
    phases: list[Phase] = ["tuning"]
    if traded.test is not None:
        phases.append("test")
    phase: Phase = seeds.segmented_control(
        "Seeds", phases, default=phases[-1], required=True, key=f"phase-{key}", bind="query-params"
    )
    show.picture(front.picture(found, traded, names.index(across), names.index(up), phase), "front")
    _member(found, traded)
    over = front.hypervolume(found)
    if over is not None:
        show.picture(over, "hypervolume")


def _member(found: Findings, traded: Front) -> None:
    """Let the user pick a trial of the front, and show its configuration and its runs."""
    options: list[int] = [member.trial.number for member in traded.members]
    knee: Any = found.winner.number if found.winner is not None else options[0]
    picked = st.selectbox(
        "Trial",
        options,
        index=options.index(knee) if knee in options else 0,
        format_func=lambda number: tables.named(found, number),
        key=f"member-{found.study.name}",
    )
    st.dataframe(tables.configurations(found, [found.trials[picked]]), hide_index=True)
    st.dataframe(tables.runs(found, picked), hide_index=True)


main()
