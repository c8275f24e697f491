"""What a curriculum trained when, how well that went, and what the target gained from it."""

from __future__ import annotations

from functools import partial

import streamlit as st
from board import choices, curricula, data, show
from board.tables import listed

from autorl.report.curricula import curriculum_sentences, trained
from autorl.report.findings import Findings

ALL = "all seeds"


def main() -> None:
    """Show the page."""
    found = data.selected()
    st.title("Curricula", anchor=False)
    if not found.spec.task.parameters:
        st.info("Every episode of this study is of one task. Name what of it may vary in `task.parameters`.")
        return
    if not found.trials:
        st.info("No trial has been proposed yet.")
        return
    url, study = data.storage(), found.study.name
    said = curriculum_sentences(found, lambda trials, phase: data.curves(url, study, tuple(trials), phase))
    show.sentences(said)
    left, right = st.columns([2, 1])
    with left:
        trial = _trial(found)
    with right:
        phase = choices.phase(found)
    records = data.curves(url, study, (trial,), phase)
    left, right = st.columns([2, 1])
    with right:
        seed = _seed(found, [record.run.seed for record in records])
    kept = [record for record in records if seed == ALL or f"seed {record.run.seed}" == seed]
    space = found.trials[trial].recipe.task_space
    assert space is not None
    names = list(space["parameters"])
    with left:
        name = st.selectbox("Parameter of the task", names, key=f"varying-{study}", bind="query-params")
    seen = trained(kept, name)
    if seen is None:
        st.info(f"{curricula.labelled(found, trial).capitalize()} has no record on the {phase} seeds yet.")
        return
    along = curricula.Along(found.trials[trial], curricula.labelled(found, trial), name, seen)
    drawn = [
        (curricula.when(along), "when"),
        (curricula.density(along), "density"),
        (curricula.success(along), "success"),
    ]
    for picture, key in drawn:
        if picture is not None:
            show.picture(picture, key)
    teachers = curricula.teachers(kept)
    if teachers is not None:
        st.subheader("Where the teacher stood", anchor=False)
        st.dataframe(teachers, hide_index=True)
        st.caption("At each evaluation; points of the task space as shares of its parameters' ranges, in their order.")
        show.download(teachers, "teacher")
    compared = curricula.beside(found, trial)
    target = curricula.target(found, compared, phase, data.curves(url, study, tuple(compared), phase))
    if target is not None:
        show.picture(target, "target")


def _trial(found: Findings) -> int:
    """Let the user choose a trial; at first the best one."""
    best = found.winner or found.incumbent
    options = [trial.number for trial in listed(found)]
    return st.selectbox(
        "Trial",
        options,
        index=options.index(best.number) if best is not None else 0,
        format_func=partial(curricula.labelled, found),
        key=f"taught-{found.study.name}",
        bind="query-params",
    )


def _seed(found: Findings, seeds: list[int]) -> str:
    """Let the user choose a run, or all of them together."""
    options = [ALL, *(f"seed {seed}" for seed in seeds)]
    return st.selectbox("Run", options, key=f"run-{found.study.name}", bind="query-params")


main()
