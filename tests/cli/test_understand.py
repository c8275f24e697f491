"""Commands that put what a study says into other forms: the checklist, comparisons, data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from states import make

Command = Callable[..., Any]


def test_the_checklist_is_written(finished: Path, autorl: Command, tmp_path: Path) -> None:
    storage = ("--storage", f"sqlite:///{finished}/study.db")
    for name in ("list.md", "list.tex"):
        assert autorl("report", "small", *storage, "--checklist", str(tmp_path / name)).code == 0
        assert "Tuning seeds" in (tmp_path / name).read_text()
    refused = autorl("report", "small", *storage, "--checklist", str(tmp_path / "list.docx"))
    assert refused.code == 2
    assert "list.docx' ends in neither of .md, .tex" in refused.err


def test_the_report_says_what_seeds_and_hyperparameters_do(autorl: Command, tmp_path: Path) -> None:
    url = make("many_trials", tmp_path).storage
    said = " ".join(autorl("report", "small", "--storage", url).out.split())
    assert "What matters most is learning_rate" in said
    assert "(the winner's curse, from tuning data alone)" in said
    data = json.loads(autorl("report", "small", "--storage", url, "--format", "json").out)
    assert data["seeds"]["trials_on_all_seeds"] == 30
    assert max(data["sensitivity"][0]["importance"].items(), key=lambda item: item[1]["fanova"])[0] == "learning_rate"


@pytest.mark.parametrize("state", ["no_trial", "all_failed", "one_trial"])
def test_what_is_not_known_is_no_number(state: str, autorl: Command, tmp_path: Path) -> None:
    url = make(state, tmp_path).storage
    data = json.loads(autorl("report", "small", "--storage", url, "--format", "json").out)
    assert data["seeds"]["winners_curse"] is None
    assert "needs at least 8" in data["sensitivity"][0]["unknown"]


def test_studies_are_compared(autorl: Command, tmp_path: Path) -> None:
    url = make("finished", tmp_path).storage
    again = autorl("compare", "small", "small", "--storage", url)
    assert again.code == 0
    assert "equal budget:" in again.out
    data = json.loads(autorl("compare", "small", "small", "--storage", url, "--format", "json").out)
    assert data["pairs"][0]["difference"]["value"] == 0
    assert data["pairs"][0]["better"]["value"] == 0.5
    alone = autorl("compare", "small", "--storage", url)
    assert (alone.code, "at least two studies" in alone.err) == (2, True)
    unknown = autorl("compare", "small", "smal", "--storage", url)
    assert (unknown.code, "did you mean 'small'?" in unknown.err) == (2, True)
