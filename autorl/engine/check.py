"""Check a study with the help of the plugins that it names: what no look at the file alone can tell."""

from __future__ import annotations

from autorl.engine.plan import enqueued, make_optimizer, optimizer_options
from autorl.errors import AutorlError, PluginNotFound, did_you_mean
from autorl.optimizers.protocol import Forking, Method
from autorl.plugins import find, names
from autorl.spec.load import Draft
from autorl.spec.space import Choice
from autorl.spec.study import OptimizerSpec, StudySpec
from autorl.spec.understand import understand
from autorl.spec.yaml12 import Key, show
from autorl.training.protocol import Backend
from autorl.trial import bind


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
    spec = draft.spec()
    _check_enqueued(draft, spec, backend)
    _check_optimizer(draft, spec, backend)
    return draft.spec()


def _check_enqueued(draft: Draft, spec: StudySpec, backend: Backend) -> None:
    """Report what of the enqueued configurations would be ignored, or cannot be."""
    known = {parameter.name: parameter for parameter in spec.space}
    for index, (asked, config) in enumerate(zip(spec.optimizer.enqueue, enqueued(spec, backend), strict=True)):
        for name, value in asked.items():
            at: Key = ("optimizer", "enqueue", index, name)
            if name not in known:
                draft.report(at, f"the search space has no parameter '{name}'{did_you_mean(name, known)}")
            elif name not in config.values:
                draft.report(at, f"{name} is not active in this configuration: its conditions do not hold")
            elif isinstance(domain := known[name].domain, Choice) and name not in config.coordinates:
                draft.report(at, f"{show(value)} is not one of {show(list(domain.values))}")


def _check_optimizer(draft: Draft, spec: StudySpec, backend: Backend) -> None:
    """Report what the optimizer says against the study."""
    method, _ = optimizer_options(spec)
    for asked, can, what in (
        (len(spec.objectives) > 1, method.several, "several objectives"),
        (bool(spec.constraints), method.constrained, "constraints"),
    ):
        if asked and not can:
            message = f"'{spec.optimizer.name}' knows no {what}; use one of {_able(what)}"
            draft.report(("optimizer", "name"), message)
    if len(spec.objectives) > 1:
        for key in ("target", "gain"):
            if getattr(spec.budget, key) is not None:
                draft.report(("budget", key), "it is one number, and the study has several objectives; leave it out")
    try:
        optimizer = make_optimizer(spec)
    except ImportError as error:
        draft.report(
            ("optimizer", "name"), f"'{spec.optimizer.name}' needs '{error.name}'; pip install 'autorl[{method.extra}]'"
        )
    except AutorlError as error:
        draft.report(("optimizer", "name"), str(error))
    else:
        if isinstance(optimizer, Forking):
            keys = {spec.space[name].sets for name in optimizer.forked}
            if why := backend.unforkable(bind(spec, spec.space, {}), keys):
                message = f"'{spec.optimizer.name}' starts trials from the checkpoints of others, and {why}"
                draft.report(("optimizer", "name"), message)


def _able(what: str) -> str:
    """Return the optimizers that can do it, as far as their libraries are installed."""
    found = []
    for name in names("autorl.optimizers"):
        try:
            method: Method = find("autorl.optimizers", name)
        except ImportError:
            continue
        if method.several if what == "several objectives" else method.constrained:
            found.append(name)
    return ", ".join(found)


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
