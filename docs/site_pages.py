"""What the site of these pages needs beside them: the reference of every key, and links that leave this folder.

`python docs/site_pages.py` writes reference.md; mkdocs calls the hooks at the end (see .mkdocs.yml).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autorl.optimizers.optuna_pruners import PrunerSpec
from autorl.plugins import find, names
from autorl.spec.curriculum import KINDS
from autorl.spec.section import Spec
from autorl.spec.study import StudySpec

DOCS = Path(__file__).parent
ROOT = DOCS.parent
BENCHMARKS = "benchmarks/README.md"  # a page of the site, though it lies elsewhere; `..` is the same folder to it
_OUTSIDE = re.compile(r"(!?)\[([^\]]*)\]\(\.\./([^)#]+?)/?(#[^)]*)?\)")
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_BOUNDS |= {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}  # as pydantic leaves them where a value may also be null


def reference() -> str:
    """Return the page that lists every key of a study file, from the schema that editors complete from."""
    schema = StudySpec.model_json_schema()
    lines = [
        "# Every key of a study",
        "",
        "Written from the schema that `autorl schema study` prints. Sections that hold further keys have a heading of",
        "their own. What each [kind of curriculum](#kinds-of-curricula) and each [optimizer](#options-of-optimizers)",
        "takes besides is at the end.",
        "",
        "`include: base.yaml`, or a list of paths, names study files relative to this one. The file is laid over them:",
        "of a key that several have, the value of the last counts, and this file's above all. A **required** key may",
        "stand in any of them.",
    ]
    lines += _section("study", schema, schema["$defs"])
    lines += ["", "## Kinds of curricula", "", "Keys of `curriculum` beside `kind`."]
    lines += _options(KINDS)
    lines += ["", "## Options of optimizers", "", "Keys of `optimizer` beside those of every optimizer."]
    lines += _options({name: find("autorl.optimizers", name).options for name in names("autorl.optimizers")})
    lines += ["", "## Pruners", "", "Keys of `optimizer.pruner`."]
    lines += _table("", PrunerSpec.model_json_schema(), {}, [])
    return "\n".join([*lines, ""])


def _options(known: Mapping[str, type[Spec]]) -> Iterator[str]:
    """Go through the lines on what each name takes; names that take the same have one table."""
    for options in dict.fromkeys(known.values()):
        yield from ("", "### " + ", ".join(f"`{name}`" for name, its in known.items() if its is options))
        schema = options.model_json_schema()
        if schema["properties"]:
            yield from _table("", schema, schema.get("$defs", {}), [])
        else:
            yield from ("", "No keys.")


def _section(name: str, section: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"## {name}", "", _text(section.get("description", "")))
    below = list[tuple[str, Mapping[str, Any]]]()
    yield from _table("" if name == "study" else f"{name}.", section, known, below)
    for key, kind in below:
        yield from _section(key, kind, known)


def _table(
    prefix: str, section: Mapping[str, Any], known: Mapping[str, Any], below: list[tuple[str, Mapping[str, Any]]]
) -> Iterator[str]:
    """Go through the lines of a section's table, and note the sections that its keys hold."""
    yield from ("", "| key | what it may be | default | |", "|---|---|---|---|")
    for key, entry in section["properties"].items():
        kinds = [*_kinds(entry, known)]
        below += [(prefix + key, kind) for kind in kinds if "properties" in kind]
        default = "**required**" if key in section.get("required", ()) else _default(entry, kinds)
        said = " or ".join(dict.fromkeys(_kind(kind) for kind in kinds))
        about = entry.get("description") or kinds[0].get("description", "")
        yield f"| `{key}` | {said} | {default} | {_text(about)} |"


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
    limits = [(sign, kind[key]) for key, sign in _BOUNDS.items() if key in kind and kind[key] < 10**15]
    bounds = "".join(f" {sign} {value:,.0f}" if value == int(value) else f" {sign} {value:g}" for sign, value in limits)
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
    if default in (None, "", {}, [], ()) or any("properties" in kind for kind in kinds):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def on_files(files: Any, config: Any) -> Any:
    """Put what pages link to outside this folder into the site."""
    from mkdocs.structure.files import File

    pages = [*DOCS.glob("*.md"), ROOT / BENCHMARKS]
    linked = {match[3] for page in pages for match in _OUTSIDE.finditer(page.read_text(encoding="utf-8"))}
    for name in sorted(linked):
        if (where := _on_site(name)) and not name.startswith("docs/"):
            files.append(File.generated(config, where, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links that leave this folder lead to what the site has of it; those to anything else become plain text."""

    def lead(match: re.Match[str]) -> str:
        image, text, name, anchor = match.groups()
        where = _on_site(name)
        return f"{image}[{text}]({where}{anchor or ''})" if where else text

    return _OUTSIDE.sub(lead, markdown)


def _on_site(name: str) -> str:
    """Return where the site has a file of this project, or nothing: of pages it has its own, and no folders."""
    if name == BENCHMARKS:
        return "benchmarks.md"
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    return f"files/{name}" if (ROOT / name).is_file() and not name.endswith(".md") else ""


if __name__ == "__main__":
    (DOCS / "reference.md").write_text(reference(), encoding="utf-8")
