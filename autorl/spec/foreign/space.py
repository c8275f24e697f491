"""ConfigSpace's files as search spaces, as far as a search space goes."""

from __future__ import annotations

from pathlib import Path

from autorl.errors import Problem, SpecError
from autorl.spec.configspace import translate as from_configspace
from autorl.spec.foreign.translation import Translation
from autorl.spec.yaml12 import read


def translate(path: Path) -> Translation:
    """Translate a ConfigSpace file, JSON or YAML.

    Raises:
        SpecError: it is none.
    """
    document = read(path)
    if not isinstance(document.data, dict) or "hyperparameters" not in document.data:
        raise SpecError([Problem(document.place(()), "", "no file of ConfigSpace: it has no 'hyperparameters'")])
    translated, problems = from_configspace(document)
    found = Translation(f"ConfigSpace's {path.name}")
    found.lost = [str(problem) for problem in document.problems]
    names: dict[str, str] = {}
    for name, entry in translated.data["parameters"].items():
        renamed = found.name(name)
        if renamed is None:
            found.lost.append(f"{translated.place(('parameters', name))}: {name}: its name is taken, or is none")
            continue
        found.parameters[renamed], names[name] = entry, renamed
    for name, entry in found.parameters.items():
        when = entry.pop("when", {})
        if kept := {names[parent]: values for parent, values in when.items() if parent in names}:
            entry["when"] = kept
        for parent in [parent for parent in when if parent not in names]:
            found.remark(name, f"without its condition on '{parent}'")
    for problem in problems:
        # Of a parameter that is there all the same it is a remark.
        if problem.key in names:
            found.remark(names[problem.key], problem.message)
        else:
            found.lost.append(str(problem))
    return found
