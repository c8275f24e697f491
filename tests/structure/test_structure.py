"""The house stands as ARCHITECTURE.md draws it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_rooms_use_only_what_they_are_built_on() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def imports(file: Path) -> set[str]:
    """Return the modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_the_dashboard_reads_through_the_reader_only() -> None:
    allowed = (
        "autorl.access",
        "autorl.ledger.reader",
        "autorl.ledger.records",
        "autorl.analysis",
        "autorl.report",
        "autorl.errors",
        "autorl.trial",
        "autorl.spec",
    )
    files = list((ROOT / "dashboard").rglob("*.py"))
    assert files
    for file in files:
        for module in imports(file):
            if module.startswith("autorl"):
                assert module.startswith(allowed), f"{file.name} imports {module}"
            assert module.partition(".")[0] not in ("sqlalchemy", "sqlite3", "optuna", "torch"), (
                f"{file.name} imports {module}"
            )


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_what_documents_link_to_exists(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), f"{name} links to {target}"


def test_the_readme_stays_short_and_its_commands_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    from autorl.cli.app import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    used = set(re.findall(r"^autorl ([a-z]+)", text, flags=re.MULTILINE))
    assert used >= {"init", "validate", "run", "report", "export"}
    assert used <= known


def test_the_readme_study_is_valid(tmp_path: Path) -> None:
    """The study and the space shown in the README are accepted as they stand."""
    from autorl.engine.check import check
    from autorl.spec.load import draft_study, load_space

    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    study, space = (block for block in blocks if block.startswith(("study:", "parameters:")))
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "ppo.yaml").write_text(space)
    (tmp_path / "study.yaml").write_text(study)
    assert check(draft_study(tmp_path / "study.yaml")).study == "my-ppo"
    assert len(load_space(tmp_path / "search_spaces" / "ppo.yaml")) == 6
