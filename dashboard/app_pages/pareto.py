"""What a score costs: the trials that no other one beats in both score and training time."""

from __future__ import annotations

import streamlit as st
from board import data, show, tradeoff


def main() -> None:
    """Show the page."""
    found = data.selected()
    st.title("Score against cost", anchor=False)
    costs = list(tradeoff.COSTS)
    cost = st.segmented_control(
        "Cost of a run", costs, default=costs[0], required=True, key="cost", bind="query-params"
    )
    shown = tradeoff.picture(found, tradeoff.COSTS[cost])
    if shown is None:
        st.info("No trial has been trained in full yet: only then is its cost known.")
        return
    show.picture(shown, "front")


main()
