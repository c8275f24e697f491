"""The dashboard: looks at the studies of one database, and changes nothing in it.

Started by `autorl dashboard`, which binds it to 127.0.0.1 and names the database in `AUTORL_STORAGE`.
"""

from __future__ import annotations

import streamlit as st
from board import data, door

from autorl.errors import StorageError
from autorl.ledger.reader import shown
from autorl.ledger.records import StudyRecord
from autorl.report.words import state

PAGES = (
    ("overview", "Overview", ":material/monitoring:"),
    ("seeds", "Seeds", ":material/casino:"),
    ("sensitivity", "Sensitivity", ":material/tune:"),
    ("curves", "Learning curves", ":material/show_chart:"),
    ("trials", "Trials", ":material/table_rows:"),
    ("curriculum", "Curricula", ":material/school:"),
    ("pareto", "Trade-offs", ":material/balance:"),
    ("compare", "Compare studies", ":material/compare_arrows:"),
    ("reproduce", "Reproduce", ":material/replay:"),
)


def main() -> None:
    """Show the page that is asked for, of the study that is selected."""
    st.set_page_config(page_title="autorl", page_icon=":material/science:", layout="wide")
    if not door.admitted():
        return
    page = st.navigation(
        [
            st.Page(f"app_pages/{name}.py", title=title, icon=icon, default=name == "overview")
            for name, title, icon in PAGES
        ]
    )
    url = data.storage()
    try:
        studies = data.records(url)
        if not studies:
            st.title("No study yet")
            st.info(f"The database `{shown(url)}` holds no study yet. Start one, then reload this page:")
            st.code("autorl run FILE.yaml", language="bash")
            return
        _select(studies, url)
        page.run()
    except StorageError as error:
        st.title("No studies to show")
        st.error(str(error))
        st.markdown("Start a study, or look at the database of another one:")
        st.code("autorl run FILE.yaml\nautorl dashboard --storage sqlite:///FILE.db", language="bash")


def _select(studies: list[StudyRecord], url: str) -> None:
    """Let the user select a study; the selection is part of the URL."""
    names = [study.name for study in studies]
    asked = st.query_params.get("study")
    if asked is not None and asked not in names and "study" not in st.session_state:
        st.warning(f"There is no study `{asked}` in this database; this is the newest one.")
    if asked not in names and st.session_state.get("study") not in names:
        # Streamlit keeps a widget's default out of the URL. With no default, the URL always names the study, and a link
        # still shows the same one when a newer has been started.
        if "study" not in st.session_state:
            st.query_params["study"] = names[0]  # Streamlit writes only later changes by itself
        st.session_state["study"] = names[0]
    with st.sidebar:
        st.selectbox("Study", names, index=None, key="study", bind="query-params", required=True)
        selected = next(study for study in studies if study.name == st.session_state["study"])
        st.caption(f"{state(selected)} · task `{selected.spec.task.env}` · {selected.spec.algorithm.name}")
        st.caption(f"Read-only view of `{shown(url)}`")


main()
