"""How tables and figures are shown: always with a sentence that says what they show, and with their data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from autorl.report.words import number
from board import tables
from board.figures import Picture

# Styling every cell costs time and Styler refuses more than this; larger tables show their numbers unrounded.
STYLED_CELLS = 10_000


def picture(shown: Picture, key: str) -> None:
    """Show a figure: its sentence as the heading, the figure with its text alternative, notes, and its data."""
    st.subheader(shown.title, anchor=False)
    name = f"{st.session_state['study']}-{key}"
    image = {"format": "svg", "filename": name}
    st.plotly_chart(
        shown.figure,
        key=key,
        alt=shown.alt,
        config={"displaylogo": False, "scrollZoom": False, "toImageButtonOptions": image},
    )
    for note in shown.notes:
        st.caption(note)
    data(shown.table, key)


def data(frame: pd.DataFrame, key: str) -> None:
    """Show the data of a figure behind an expander, to be downloaded as CSV."""
    with st.expander("Data of this figure"):
        st.dataframe(rounded(frame), hide_index=True, placeholder=tables.NONE)
        download(frame, key)


def download(frame: pd.DataFrame, key: str) -> None:
    """Offer a table as CSV. Numbers are in full there, whatever is shown."""
    st.download_button(
        "Download CSV",
        tables.as_csv(frame),
        f"{st.session_state['study']}-{key}.csv",
        "text/csv",
        key=f"{key}-csv",
        on_click="ignore",  # there is nothing to compute again
        icon=":material/download:",
    )


def rounded(frame: pd.DataFrame) -> Any:
    """Return a table whose numbers are shown as reports write them, and still sort as numbers."""
    if frame.size > STYLED_CELLS:
        return frame
    names = [name for name in frame.columns if pd.api.types.is_float_dtype(frame[name])]
    return frame.style.format(dict.fromkeys(names, _number), na_rep=tables.NONE)


def _number(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)


def sentences(said: Sequence[str]) -> None:
    """Show sentences, one below the other."""
    for sentence in said:
        st.markdown(sentence)
