"""What the site of these pages needs beside them: the reference of every key, and links that leave this folder.

`python docs/site_pages.py` writes reference.md; mkdocs calls the hooks at the end (see .mkdocs.yml).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autorl.spec.study import StudySpec

DOCS = Path(__file__).parent
ROOT = DOCS.parent
_OUTSIDE = re.compile(r"\]\(\.\./([^)#]+?)/?(#[^)]*)?\)")
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def reference() -> str:
    """Return the page that lists every key of a study file, from the schema that editors complete from."""
    schema = StudySpec.model_json_schema()
    lines = [
        "# Every key of a study",
        "",
        "Written from the schema that `autorl schema study` prints. Sections that hold further keys have a heading of",
        "their own. `include` names files that the study is laid over.",
    ]
    lines += _section("study", schema, schema["$defs"])
    return "\n".join([*lines, ""])


def _section(name: str, section: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"## {name}", "", _text(section.get("description", "")), "")
    yield from ("| key | what it may be | default | |", "|---|---|---|---|")
    below = []
    for key, entry in section["properties"].items():
        kinds = [*_kinds(entry, known)]
        for kind in kinds:
            if "properties" in kind:
                below.append((key if name == "study" else f"{name}.{key}", kind))
        default = "" if key in section.get("required", ()) else _default(entry, kinds)
        said = " or ".join(dict.fromkeys(_kind(kind) for kind in kinds))
        about = entry.get("description") or kinds[0].get("description", "")
        yield f"| `{key}` | {said} | {default} | {_text(about)} |"
    for key, kind in below:
        yield from _section(key, kind, known)


def _kinds(entry: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Go through the alternatives of an entry, references and lists resolved to what they hold."""
    patterns = [one for one in entry.get("patternProperties", {}).values() if "$ref" in one]
    if "$ref" in entry:
        yield from _kinds(known[entry["$ref"].rpartition("/")[2]], known)
    elif "anyOf" in entry:
        for one in entry["anyOf"]:
            if one.get("type") != "null":
                yield from _kinds(one, known)
    elif isinstance(entry.get("items"), Mapping) and "$ref" in entry["items"]:
        yield {**known[entry["items"]["$ref"].rpartition("/")[2]], "type": "array"}
    elif patterns:
        yield {**known[patterns[0]["$ref"].rpartition("/")[2]], "type": "map"}
    else:
        yield entry


def _kind(kind: Mapping[str, Any]) -> str:
    if "enum" in kind or "const" in kind:
        return ", ".join(f"`{value}`" for value in kind.get("enum", [kind.get("const")]))
    bounds = "".join(f" {sign} {kind[key]:,g}" for key, sign in _BOUNDS.items() if key in kind and kind[key] < 10**15)
    words = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "`true`, `false`",
        "string": "text",
        "array": "a list of [these]" if "properties" in kind else "a list",
        "map": "names, each with [these]" if "properties" in kind else "names with values",
        "object": "keys, below" if "properties" in kind else "names with values",
    }
    return words.get(str(kind.get("type")), "any value").replace("[these]", "sections, below") + bounds


def _default(entry: Mapping[str, Any], kinds: list[Mapping[str, Any]]) -> str:
    default = entry.get("default")
    if default is None or default in ({}, [], ()) or any("properties" in kind for kind in kinds):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def on_files(files: Any, config: Any) -> Any:
    """Put what pages link to outside this folder into the site."""
    from mkdocs.structure.files import File

    linked = {match[1] for page in DOCS.glob("*.md") for match in _OUTSIDE.finditer(page.read_text(encoding="utf-8"))}
    for name in sorted(linked):
        if (ROOT / name).is_file() and not name.endswith(".md"):
            files.append(File.generated(config, f"files/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links that leave this folder lead to what the site has of it; those to folders and code become plain text."""

    def lead(match: re.Match[str]) -> str:
        name = match[1]
        inside = (ROOT / name).is_file() and not name.endswith(".md")
        return f"](files/{name})" if inside else "](index.md)"

    return _OUTSIDE.sub(lead, markdown)


if __name__ == "__main__":
    (DOCS / "reference.md").write_text(reference(), encoding="utf-8")
