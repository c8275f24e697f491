"""Who may look at the dashboard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from states import make
from streamlit.testing.v1 import AppTest

from autorl import access
from autorl.errors import AutorlError

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
SECRET = "a-secret-of-some-length"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_this_machine_needs_no_secret(address: str) -> None:
    access.check_address(address, oidc=False)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])
def test_other_addresses_need_authentication(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AutorlError, match="nothing asks who they are"):
        access.check_address(address, oidc=False)
    access.check_address(address, oidc=True)
    monkeypatch.setenv(access.TOKEN, SECRET)
    access.check_address(address, oidc=False)
    monkeypatch.setenv(access.TOKEN, "short")
    with pytest.raises(AutorlError, match="has 5 characters; at least 16"):
        access.check_address(address, oidc=False)


def test_only_the_token_is_admitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.TOKEN, SECRET)
    assert access.admits(SECRET)
    assert not access.admits(SECRET[:-1])
    assert not access.admits("ä" * 20)


def test_the_command_refuses_before_it_serves(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autorl", "dashboard", "--address", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "0.0.0.0: others could reach the dashboard" in done.stderr
    assert done.stdout == ""


def test_visitors_are_asked_for_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORL_STORAGE", make("finished", tmp_path).storage)
    monkeypatch.setenv(access.TOKEN, SECRET)
    monkeypatch.syspath_prepend(str(APP.parent))
    app = AppTest.from_file(str(APP), default_timeout=180).run()
    assert not app.metric
    assert not app.selectbox
    app.text_input[0].set_value("guess").run()
    assert [error.value for error in app.error] == ["This is not the token."]
    assert not app.metric
    app.text_input[0].set_value(SECRET).run()
    assert app.metric
    assert not app.error
