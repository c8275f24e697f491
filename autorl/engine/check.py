"""Check a study with the help of the plugins that it names: what no look at the file alone can tell."""

from __future__ import annotations

from autorl.errors import PluginNotFound
from autorl.plugins import find, names
from autorl.spec.load import Draft
from autorl.spec.study import StudySpec
from autorl.training.protocol import Backend


def check(draft: Draft) -> StudySpec:
    """Add the mistakes that the backend finds to those of the file, and return the study if there are none.

    Raises:
        SpecError: with every mistake, of both kinds.
    """
    for section, key, group in (
        ("optimizer", "name", "autorl.optimizers"),
        ("execution", "executor", "autorl.executors"),
    ):
        spec = draft.sections.get(section)
        if spec is not None and getattr(spec, key) not in names(group):  # type: ignore[arg-type]
            _unknown(draft, section, key, group, getattr(spec, key))
    algorithm = draft.sections.get("algorithm")
    if algorithm is not None:
        try:
            backend: Backend = find("autorl.backends", algorithm.backend)()
        except PluginNotFound as error:
            draft.report(("algorithm", "backend"), str(error))
        except ImportError as error:
            draft.report(
                ("algorithm", "backend"),
                f"'{algorithm.backend}' needs '{error.name}'; run pip install 'autorl[{algorithm.backend}]'",
            )
        else:
            for place, message in backend.check(draft.sections, draft.repaired):
                draft.report(place, message)
    return draft.spec()


def _unknown(draft: Draft, section: str, key: str, group: str, name: str) -> None:
    try:
        find(group, name)  # type: ignore[arg-type]
    except PluginNotFound as error:
        draft.report((section, key), str(error))
