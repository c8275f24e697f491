"""A finished small study, and the command line as a function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from small_study import ignore, load

from autorl.cli import main
from autorl.engine.conductor import conduct


class Answer(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture
def autorl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command line in this process."""

    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["autorl", *arguments])
        monkeypatch.setenv("COLUMNS", "100")
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished study: small.yaml and study.db."""
    folder = tmp_path_factory.mktemp("finished")
    conduct(load(folder), ignore)
    return folder
