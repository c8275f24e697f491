"""Check a study with the help of the plugins that it names: what no look at the file alone can tell."""

from __future__ import annotations

from autorl.errors import PluginNotFound
from autorl.optimizers.protocol import Method
from autorl.plugins import find, names
from autorl.spec.load import Draft
from autorl.spec.study import OptimizerSpec, StudySpec
from autorl.spec.understand import understand
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
        elif section == "optimizer" and spec is not None:
            _check_options(draft, spec)
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


def _check_options(draft: Draft, optimizer: OptimizerSpec) -> None:
    """Report keys of the section that are none of the optimizer's options, and values that they do not allow."""
    try:
        method: Method = find("autorl.optimizers", optimizer.name)
    except ImportError as error:
        draft.report(("optimizer", "name"), f"'{optimizer.name}' needs '{error.name}', which is not installed")
        return
    for key, message in understand(method.options, optimizer.options, set())[1]:
        draft.report(("optimizer", *key), message)


def _unknown(draft: Draft, section: str, key: str, group: str, name: str) -> None:
    try:
        find(group, name)  # type: ignore[arg-type]
    except PluginNotFound as error:
        draft.report((section, key), str(error))
