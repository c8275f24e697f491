"""Tuning scores against the scores of seeds that chose nothing: how far a study's numbers can be trusted."""

from __future__ import annotations

import streamlit as st
from board import data, seeds, show, stability

from autorl.report.evidence import evidence
from autorl.report.findings import Findings


def main() -> None:
    """Show the page."""
    found = data.selected()
    st.title("Seeds", anchor=False)
    st.markdown(_plan(found))
    seen = evidence(found)
    facts = stability.facts(found, seen)
    for column, (what, value, about) in zip(st.columns(3), facts, strict=False):
        column.metric(what, value, about, delta_color="off", delta_arrow="off", border=True, height="stretch")
    promised, tested = seeds.promised(found), seeds.tested(found)
    if promised is not None:
        show.picture(promised, "promised")
    if tested is not None:
        show.picture(tested, "tested")
    profile = stability.profile(found)
    if profile is not None:
        show.picture(profile, "profile")
        st.dataframe(stability.reliability(found), hide_index=True)
        st.caption(
            "Intervals at 95 %. Those of the median need six seeds; a mean of the worst seeds has none: few runs do "
            "not know their tail."
        )
    if promised is None or found.headline is None:
        st.info(_missing(found, promised is None))
    agreed, parts = stability.ranks(found, seen), stability.variance(seen)
    if agreed is not None:
        show.picture(agreed, "ranks")
    if parts is not None:
        show.picture(parts, "variance")
    if not facts:
        st.info(
            f"{len(seen.trials)} trials have a final score on all {len(found.spec.seeds.tuning)} tuning seeds: whether "
            "the seeds agree shows from two trials and two seeds on."
        )


def _plan(found: Findings) -> str:
    """Say which seeds do what."""
    spec = found.spec.seeds
    said = [f"tuning seeds {_range(spec.tuning)} rank the trials"]
    if spec.validation:
        said.append(f"validation seeds {_range(spec.validation)} choose the winner")
    said.append(f"test seeds {_range(spec.test)} choose nothing and say what the winner is worth")
    return "; ".join(said).capitalize() + "."


def _range(seeds: tuple[int, ...]) -> str:
    """Write seeds as briefly as can be."""
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _missing(found: Findings, all_of_it: bool) -> str:
    """Say what is not there yet, and why."""
    if found.study.state == "finished":
        if found.winner is None:
            return "Every trial failed, so none was trained on the test seeds."
        return "A test run of the winner or of the default failed, so they cannot be compared; see the page of trials."
    what = "No trial has scores on both tuning seeds and later ones" if all_of_it else "Not every test run has finished"
    return f"{what} yet: the study is in its {found.study.state} phase, and test seeds come last."


main()
