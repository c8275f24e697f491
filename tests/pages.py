"""The pages of the documentation, and the code blocks that they show."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
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
