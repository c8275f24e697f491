"""The pages of the documentation, the code blocks that they show, and a shell that runs these."""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BENCHMARKS = ROOT / "benchmarks" / "README.md"


def blocks(language: str, *pages: Path) -> Iterator[tuple[str, str]]:
    """Go through the code blocks in a language, by default of all pages but the benchmarks': where it is, its text."""
    for page in pages or PAGES:
        text = page.read_text(encoding="utf-8")
        found = re.finditer(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
        for index, match in enumerate(found):
            if match[2] == language:
                yield f"{page.name}-{index}", textwrap.dedent(match[3])


def block(language: str, page: Path, holding: str = "") -> str:
    """Return the only code block of a page that is in a language and holds a text."""
    (text,) = (text for _, text in blocks(language, page) if holding in text)
    return text


def lines(text: str) -> list[str]:
    """Return the commands of a block, each on one line."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def shell(script: str, folder: Path, environment: Mapping[str, str] = os.environ, **more: str) -> str:
    """Run a script in a folder until its first command that fails, of which there is to be none; return what it says.

    Args:
        script: for bash.
        folder: where.
        environment: the variables it has.
        more: variables to add.
    """
    variables = {**environment, "COLUMNS": "100", **more}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout
