"""All studies, and of the selected one: what it found, how far it has got, what it spent."""

from __future__ import annotations

import streamlit as st
from board import data, figures, show, tables

from autorl.report.findings import Findings
from autorl.report.sentences import headline_lines, sentences

SECONDS = 3.0
Line = tuple[str, str, str]


def main() -> None:
    """Show the page."""
    found = data.selected()
    st.title(found.study.name, anchor=False)
    _live(found)
    _headline(found)
    show.sentences(sentences(found))
    _cautions(found)
    shown = figures.incumbent(found)
    if shown is not None:
        show.picture(shown, "incumbent")
    elif found.trials:
        st.info("No trial has a score yet, so there is nothing to draw.")
    else:
        st.info("No trial has been proposed yet, so there is nothing to draw.")
    st.subheader("Budget spent, seeds included", anchor=False)
    st.dataframe(tables.budget(found), hide_index=True)
    _studies()


def _live(found: Findings) -> None:
    """Follow a study that an engine is at work on, until the user pauses that; say nothing of one that is finished."""
    study = found.study
    if not study.live:
        if study.paused is not None:
            st.error("This study has paused: somebody has to look. `autorl run` with its file goes on.")
            st.code(study.paused, language=None, wrap_lines=True)
        elif study.state != "finished":
            st.info(
                f"This study has stopped in the {study.state} phase. `autorl run` with its file goes on where it left "
                "off; finished runs are not trained again."
            )
        return
    follow = st.toggle("Follow live", value=True, key="follow", help=f"Look again every {SECONDS:.0f} seconds.")
    seen = _milestone(found)

    def strip() -> None:
        now = data.findings(data.storage(), study.name)
        if _milestone(now) != seen:
            st.rerun()  # a run has finished: everything on the page may have changed
        spent, planned = tables.steps(now)
        runs = [run for runs in now.runs.values() for run in runs]
        training = [run for run in runs if run.state == "running"]
        done = sum(run.state in ("paused", "completed", "failed") for run in runs)
        text = f"{now.study.state}: {done} runs, {spent:,} of {planned:,} environment steps"
        st.progress(min(1.0, spent / planned), text=text)
        names = [f"trial {run.trial} with {run.phase} seed {run.seed} ({run.env_steps:,} steps)" for run in training]
        st.caption(f"Training now: {'; '.join(names)}." if names else "No run is training at this moment.")

    st.fragment(strip, run_every=SECONDS if follow else None)()


def _milestone(found: Findings) -> tuple[object, ...]:
    done = sum(run.state not in ("waiting", "running") for runs in found.runs.values() for run in runs)
    return found.study.state, found.study.live, done, sum(trial.state != "running" for trial in found.trials)


def _headline(found: Findings) -> None:
    """Show the headline's numbers, each with its interval; nothing while there is none."""
    lines = headline_lines(found)
    if not lines or found.winner is None:
        return
    st.caption(f"{found.objective} on {len(found.spec.seeds.test)} test seeds that tuning never used")
    for column, (what, value, between) in zip(st.columns(3), lines, strict=False):
        name = {"tuned": f"tuned (trial {found.winner.number})", "default": "default (trial 0)"}.get(what, what)
        column.metric(name, value, between, delta_color="off", delta_arrow="off", border=True, height="stretch")


def _cautions(found: Findings) -> None:
    for caution in found.cautions:
        st.warning(f"Caution: {caution}.", icon=":material/warning:")


def _studies() -> None:
    st.subheader("All studies in this database", anchor=False)
    url = data.storage()
    st.dataframe(tables.studies(data.findings(url, record.name) for record in data.records(url)), hide_index=True)


main()
