"""A fresh clone does what the README, the tutorial and CONTRIBUTING say, from `make install` to the last command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, block, blocks, lines, shell

TUTORIAL = ROOT / "docs" / "tutorial.md"
STUDY = "studies/cartpole-ppo.yaml budget.trials=2 budget.steps_per_run=2048 seeds.test=100:102 study=made-small"
MADE = {
    line.partition("#")[0].strip()
    for _, text in blocks("bash", ROOT / "README.md", ROOT / "CONTRIBUTING.md")
    for line in lines(text)
    if line.startswith("make ")
}
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not re.match("VIRTUAL_ENV|PYTHON|PYTEST|AUTORL_|MAKE|MFLAGS", name)
}


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with what is in the repository and nothing else, though with what is to be committed."""
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"needs a clone: {listed.stderr.strip()}")
    clone = tmp_path / "autorl"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    yield clone
    if not (clone / ".venv").is_symlink():
        shutil.rmtree(clone / ".venv", ignore_errors=True)  # gigabytes, which pytest would keep


def test_the_tutorial_works_as_it_is_written(clone: Path) -> None:
    script = [block("console", TUTORIAL), *(text for _, text in blocks("bash", TUTORIAL))]
    script += [f"python - <<'END'\n{text}\nEND\n" for _, text in blocks("python", TUTORIAL)]
    # The environment takes a while to make, so that it also shows what other pages say.
    install, _ = lines(block("bash", ROOT / "docs" / "operations.md", "pip install"))
    script += [f"{install}\npython -c 'import psycopg'\n", "make study\n"]
    told = shell("".join(script), clone, ENVIRONMENT, STUDY=STUDY)
    assert (clone / "curve.csv").read_text().startswith("env_steps,")
    assert (clone / "tutorial.html").exists()
    assert "mean return on 2 test seeds, never used in tuning" in told


def installed() -> bool:
    """Say whether make would leave the environment of the tests as it is, which is not to become the clone's."""
    stamp = Path(sys.prefix) / ".installed-dev"
    made_of = max((ROOT / name).stat().st_mtime for name in ("pyproject.toml", "constraints.txt"))
    return stamp.exists() and stamp.stat().st_mtime >= made_of


@pytest.mark.skipif(not installed(), reason="needs the environment of make install-dev, as it is now")
@pytest.mark.parametrize("line", sorted(MADE - {"make study"}))
def test_make_does_what_the_pages_say(line: str, clone: Path) -> None:
    (clone / ".venv").symlink_to(sys.prefix)
    cache = str(ROOT / ".mypy_cache")
    shell(line, clone, ENVIRONMENT, PYTEST_ADDOPTS="--collect-only", MYPY_CACHE_DIR=cache)


def test_extras_of_the_pages_are_there() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    named = {extra for page in pages for extra in re.findall(r"autorl\[(\w+)\]", page.read_text(encoding="utf-8"))}
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert "postgres" in named
    assert named <= set(known)
