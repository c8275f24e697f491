"""Lets visitors in: all of this machine's, and from elsewhere those who authenticate."""

from __future__ import annotations

import os
import time
from pathlib import Path

import streamlit as st

from autorl.access import TOKEN, admits, check_address, oidc
from autorl.errors import AutorlError

WRONG_TOKEN_SECONDS = 1.0


def admitted() -> bool:
    """Say whether the visitor may look; if not, ask for what is missing."""
    try:
        login = oidc(map(Path, st.get_option("secrets.files")))
        check_address(str(st.get_option("server.address") or "0.0.0.0"), oidc=login)  # noqa: S104 - what none means
    except AutorlError as error:
        st.error(f"Not served. {error}")
        return False
    if login:
        return _logged_in()
    return not os.environ.get(TOKEN) or _token_given()


def _logged_in() -> bool:
    if st.user.is_logged_in:
        st.sidebar.button("Log out", on_click=st.logout)
        return True
    st.title("autorl", anchor=False)
    st.button("Log in", on_click=st.login, type="primary")
    return False


def _token_given() -> bool:
    if st.session_state.get("admitted"):
        return True
    st.title("autorl", anchor=False)
    given = st.text_input("Token", type="password", help=f"The value of {TOKEN} on the server.")
    if given:
        if admits(given):
            st.session_state["admitted"] = True
            st.rerun()
        time.sleep(WRONG_TOKEN_SECONDS)  # so that guessing is slow
        st.error("This is not the token.")
    return False
