"""Who may look at the dashboard: this machine alone, unless those who come from elsewhere have to say who they are."""

from __future__ import annotations

import hmac
import ipaddress
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autorl.errors import AutorlError

TOKEN = "AUTORL_DASHBOARD_TOKEN"  # noqa: S105 - the name of a variable
SHORTEST_TOKEN = 16
SECRETS = Path(".streamlit") / "secrets.toml"
AUTH = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
"""What Streamlit needs to know of a provider."""


def check_address(address: str, *, oidc: bool) -> None:
    """Refuse to serve on an address that others can reach, unless they have to authenticate.

    Args:
        address: what the server binds.
        oidc: whether Streamlit's own authentication (OpenID Connect) is set up.

    Raises:
        AutorlError: others could look without authenticating, or the token is too short to protect anything.
    """
    token = os.environ.get(TOKEN, "")
    if token and len(token) < SHORTEST_TOKEN:
        raise AutorlError(
            f"{TOKEN} has {len(token)} characters; at least {SHORTEST_TOKEN} are needed, "
            "as from: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    if not (_is_loopback(address) or oidc or token):
        raise AutorlError(
            f"{address}: others could reach the dashboard, and nothing asks who they are. Keep 127.0.0.1 and use "
            f"ssh -L 8501:127.0.0.1:8501 HOST; or set {TOKEN} to a secret that visitors are asked for; or set up "
            "OpenID Connect ([auth] in .streamlit/secrets.toml)"
        )


def oidc(files: Iterable[Path] = (Path.home() / SECRETS, SECRETS)) -> bool:
    """Say whether Streamlit's own authentication (OpenID Connect) is set up.

    Args:
        files: where Streamlit looks for secrets; what a later one says goes.

    Raises:
        AutorlError: it is set up in part, with a secret that protects nothing, or in a file that cannot be read.
    """
    auth: Any = None
    for file in files:
        try:
            auth = tomllib.loads(file.read_text(encoding="utf-8")).get("auth", auth)
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise AutorlError(f"{file}: cannot be read ({error}), and may say who is to be admitted") from None
    if auth is None:
        return False
    given: Mapping[str, Any] = auth if isinstance(auth, dict) else {}
    missing = [key for key in AUTH if not isinstance(given.get(key), str) or not given[key]]
    if missing:
        raise AutorlError(f"[auth] in {SECRETS} lacks {', '.join(missing)}: nobody could log in")
    if len(given["cookie_secret"]) < SHORTEST_TOKEN:
        raise AutorlError(
            f"[auth] in {SECRETS}: cookie_secret has {len(given['cookie_secret'])} characters; at least "
            f"{SHORTEST_TOKEN} random ones are needed, since whoever guesses it can forge a login"
        )
    return True


def admits(given: str) -> bool:
    """Say whether this is the token, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(given.encode(), os.environ.get(TOKEN, "").encode())


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
