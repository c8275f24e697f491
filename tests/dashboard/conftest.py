"""The dashboard runs in these tests without a server, whose address would be that of its own configuration file."""

from __future__ import annotations

import pytest
from streamlit import config


@pytest.fixture(autouse=True)
def _on_this_machine() -> None:
    config.set_option("server.address", "127.0.0.1")
