"""Which hyperparameters matter, what they do, and how safe the winner's neighbourhood is."""

from __future__ import annotations

import streamlit as st
from board import data, sensitivity, show

from autorl.report.sentences import influences


def main() -> None:
    """Show the page."""
    found = data.selected()
    st.title("Sensitivity", anchor=False)
    names = [objective.words for objective in found.spec.objectives]
    of: str = names[0]
    if len(names) > 1:
        of = st.segmented_control(
            "Objective", names, default=of, required=True, key=f"objective-{found.study.name}", bind="query-params"
        )
    seen = data.influence(data.storage(), found.study.name, names.index(of))
    if isinstance(seen, str):
        st.info(f"{influences(seen)[0]} This page says more when there are more trials.")
        return
    show.picture(sensitivity.importance(found, seen), "importance")
    ranked = [seen.names[index] for index in seen.ranked if seen.effect(index).active]
    key = f"parameter-{found.study.name}"
    chosen = st.selectbox("Effect of", ranked, key=key, bind="query-params", width=320)
    show.picture(sensitivity.effect(seen, seen.names.index(chosen)), "effect")
    pairs = sensitivity.interactions(seen)
    if pairs is not None:
        show.picture(pairs, "interactions")
    best = found.winner or found.incumbent
    if best is None:
        return
    way = sensitivity.path(found, seen, best)
    if way is not None:
        show.picture(way, "path")
    near = sensitivity.around(found, seen, best)
    if near is not None:
        show.picture(near, "around")


main()
