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
    found = Translation(f"ConfigSpace's {path.name}", translated.data["parameters"])
    found.lost = [str(problem) for problem in [*document.problems, *problems]]
    return found
