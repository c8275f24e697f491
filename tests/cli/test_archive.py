"""`autorl dump` and `autorl load`: another machine reports what this one reports."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from autorl.spec.load import load_study


def test_the_report_is_the_same_where_it_is_loaded(autorl: Any, finished: Path, tmp_path: Path) -> None:
    here, there, file = f"sqlite:///{finished}/study.db", f"sqlite:///{tmp_path}/other.db", tmp_path / "small.zip"
    assert autorl("dump", "small", str(file), "--storage", here).code == 0
    done = autorl("load", str(file), "--storage", there)
    assert done.code == 0, done.err
    assert "Loaded small into" in done.out
    for command in (["report"], ["report", "--format", "json"], ["trials"], ["best"], ["export", "--format", "json"]):
        ours, theirs = (autorl(command[0], "small", *command[1:], "--storage", url) for url in (here, there))
        assert ours.code == theirs.code == 0
        assert ours.out == theirs.out
    pages = []
    for url, name in ((here, "here.html"), (there, "there.html")):
        assert autorl("report", "small", "--html", str(tmp_path / name), "--storage", url).code == 0
        # The page says how to look at the database that it was made from.
        pages.append((tmp_path / name).read_text().replace(here, "URL").replace(there, "URL"))
    assert pages[0] == pages[1]
    # As a process, in which nothing has told Optuna to be quiet.
    command = [sys.executable, "-m", "autorl", "load", str(file), "--storage", there]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (2, f"error: {there} holds a study 'small' already\n")


def test_the_archive_has_the_study_file_and_the_checklist(autorl: Any, finished: Path, tmp_path: Path) -> None:
    file = tmp_path / "small.zip"
    autorl("dump", "small", str(file), "--storage", f"sqlite:///{finished}/study.db")
    with zipfile.ZipFile(file) as members:
        study = tmp_path / "study.yaml"
        study.write_bytes(members.read("study.yaml"))
        assert members.read("checklist.md").startswith(b"# Checklist of small")
        about = members.read("README.md").decode()
        named = set(re.findall(r"`([a-z]+\.[a-z]+)`", about))
        assert named <= set(members.namelist())
    assert load_study(study).study == "small"
