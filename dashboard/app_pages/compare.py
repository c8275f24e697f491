"""Studies side by side, at equal budget."""

from __future__ import annotations

import streamlit as st
from board import comparison, data, show

from autorl.report.compare import compare, sentences


def main() -> None:
    """Show the page."""
    found = data.selected()
    st.title("Compare studies", anchor=False)
    url = data.storage()
    names = [record.name for record in data.records(url) if record.name != found.study.name]
    if not names:
        st.info("The database holds no other study to compare with.")
        return
    every = {name: data.findings(url, name) for name in names}
    goal = (found.spec.objective.direction, found.objective)
    alike = [name for name in names if (every[name].spec.objective.direction, every[name].objective) == goal]
    if not alike:
        st.info(f"No other study has the objective to {goal[0]} the {goal[1]}: scores of other objectives say nothing.")
        return
    same_task = [name for name in alike if every[name].spec.task == found.spec.task]
    chosen = st.multiselect(
        f"Compare {found.study.name} with",
        alike,
        default=(same_task or alike)[:1],
        max_selections=comparison.MOST_STUDIES - 1,
        key=f"with-{found.study.name}",
        bind="query-params",
    )
    if not chosen:
        st.info("Choose a study above.")
        return
    result = compare([found, *(every[name] for name in chosen)])
    show.sentences(sentences(result))
    for caution in result.cautions:
        st.warning(f"Caution: {caution}.", icon=":material/warning:")
    st.dataframe(comparison.table(result), hide_index=True)
    st.caption(
        f"Equal budget: {result.budget:,} environment steps of tuning, the least that any of them spent. Test scores "
        "are of the winners after all that each study spent."
    )
    shown = comparison.lead(result)
    if shown is not None:
        show.picture(shown, "lead")
    tested = comparison.tested(result)
    if tested is not None:
        show.picture(tested, "tested")


main()
