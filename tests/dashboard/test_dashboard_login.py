"""Logging in to the dashboard with OpenID Connect, at a provider that runs here."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, block
from served import beside, browser, free_port, needs_browser, served, waiting
from states import make

from autorl.access import AUTH, oidc
from autorl.errors import AutorlError

OWN = {"cookie_secret": "a-secret-of-some-length", "client_secret": "told-by-the-provider"}
WHOLE = tomllib.loads(block("toml", ROOT / "docs" / "operations.md"))["auth"] | OWN  # the page shows no secrets


def secrets(folder: Path, **auth: str) -> Path:
    file = folder / ".streamlit" / "secrets.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("[auth]\n" + "".join(f'{key} = "{value}"\n' for key, value in auth.items()))
    return file


def test_it_is_set_up_if_all_is_there(tmp_path: Path) -> None:
    file = secrets(tmp_path, **WHOLE)
    assert oidc([file])
    assert oidc([tmp_path / "missing.toml", file])
    assert not oidc([tmp_path / "missing.toml"])
    (tmp_path / "other.toml").write_text("[database]\npassword = 'x'\n")
    assert not oidc([tmp_path / "other.toml"])


@pytest.mark.parametrize("key", AUTH)
def test_half_of_it_is_a_mistake(key: str, tmp_path: Path) -> None:
    rest = {name: value for name, value in WHOLE.items() if name != key}
    with pytest.raises(AutorlError, match=f"lacks {key}: nobody could log in"):
        oidc([secrets(tmp_path, **rest)])


def test_a_short_secret_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(AutorlError, match="cookie_secret has 5 characters; at least 16"):
        oidc([secrets(tmp_path, **WHOLE | {"cookie_secret": "short"})])


def test_secrets_that_cannot_be_read_are_not_taken_for_none(tmp_path: Path) -> None:
    file = tmp_path / "secrets.toml"
    file.write_text("[auth\n")
    with pytest.raises(AutorlError, match="cannot be read"):
        oidc([file])
    with pytest.raises(AutorlError, match="cannot be read"):
        oidc([tmp_path])


def test_the_command_refuses_half_a_login(tmp_path: Path) -> None:
    secrets(tmp_path, client_id="autorl")
    command = [sys.executable, "-m", "autorl", "dashboard", "--address", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "lacks redirect_uri, cookie_secret, client_secret, server_metadata_url" in done.stderr


@pytest.fixture
def provider() -> Iterator[str]:
    """Run a provider that knows one user; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--user", "ada"]
    address = f"http://127.0.0.1:{port}"
    with beside(command, f"{address}/.well-known/openid-configuration", stderr=subprocess.DEVNULL):
        yield address


@needs_browser
@pytest.mark.xdist_group(name="browser")
def test_a_visitor_logs_in_and_out(provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from selenium.webdriver.common.by import By

    storage, port = make("finished", tmp_path).storage, free_port()
    auth = {
        "redirect_uri": f"http://127.0.0.1:{port}/oauth2callback",
        "server_metadata_url": f"{provider}/.well-known/openid-configuration",
    }
    secrets(tmp_path, **WHOLE | auth)
    monkeypatch.chdir(tmp_path)
    command = ["autorl", "dashboard", "--headless", "--address", "0.0.0.0", "--storage", storage]

    def shown(driver: Any, kind: str, text: str) -> Any:
        return next((e for e in driver.find_elements(By.CSS_SELECTOR, kind) if text in e.text), None)

    with served(command, "--port=", port=port), browser(tmp_path / "profile") as driver:
        wait = waiting(driver)

        def press(text: str) -> None:
            def pressed(found: Any) -> bool:
                button = shown(found, "button", text)
                if button is not None:
                    button.click()
                return button is not None

            wait.until(pressed)

        driver.get(f"http://127.0.0.1:{port}")
        press("Log in")
        wait.until(lambda d: shown(d, "h1", "Authorize Client"))
        assert driver.current_url.startswith(provider)
        press("ada")
        wait.until(lambda d: shown(d, "h1", "small"))
        assert not driver.find_elements(By.CSS_SELECTOR, '[data-testid="stException"]')
        press("Log out")
        press("End session")  # asks the provider
        wait.until(lambda d: shown(d, "button", "Log in"))
        assert shown(driver, "h1", "small") is None
