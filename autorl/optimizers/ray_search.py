"""Searchers of Ray Tune (https://docs.ray.io/en/latest/tune/api/suggestion.html), without Ray Tune's scheduler.

A searcher keeps its state inside, so it is built anew and brought to where it was: for every proposal that was taken it
is asked once more, and told what it was told.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from autorl.errors import AutorlError
from autorl.optimizers.protocol import WAIT, Method, Question, Wait
from autorl.spec.section import Spec
from autorl.spec.space import Choice, Configuration, Parameter
from autorl.trial import Proposal, Standing, TrialResult

if TYPE_CHECKING:
    from ray.tune.search import Searcher

METRIC = "objective"
"""The key under which a searcher finds the objective in a result."""

_SEEDS = ("seed", "random_state", "random_state_seed")


class RayOptions(Spec):
    """Which searcher, and its arguments."""

    searcher: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="module:Class of a ray.tune.search.Searcher, such as ray.tune.search.optuna:OptunaSearch.",
    )
    arguments: dict[str, Any] = Field(
        default={}, description="Arguments of its constructor; its seed is set unless it is among them."
    )


def ray_searcher(question: Question) -> RaySearcher:
    """Propose with any searcher of Ray Tune, each configuration on all tuning seeds to the end.

    A searcher moves in search coordinates. It knows no conditions: it proposes every parameter, inactive ones are
    dropped, and it believes that they had a part in the result. A result reaches it as in Ray Tune: one
    `on_trial_result` for each evaluation before the last (mean over the seeds), then `on_trial_complete`. Where another
    configuration is trained than it suggested, the suggestion ends with an error, and the other one is passed to
    `add_evaluated_point` of a searcher that has it.

    Raises:
        AutorlError: there is no such searcher, or it takes neither the arguments nor the space.
    """
    return RaySearcher(question)


class RaySearcher:
    """The adapter: a trial's identifier is the number of its proposal."""

    def __init__(self, question: Question) -> None:
        self.reads: Literal["nothing", "values", "curves"] = "curves"
        self._question = question
        logging.getLogger("ray.tune.search").setLevel(logging.ERROR)
        self._searcher = _make(question)
        self._suggested: Mapping[str, Any] | None = None
        self._taken: set[int] = set()
        # Those trained with another configuration than suggested: it, or None if the searcher cannot be told.
        self._replaced: dict[int, dict[str, Any] | None] = {}

    def ask(self, number: int) -> Proposal | Wait | None:
        """Propose what the searcher suggests; it may want to wait for results, or have finished."""
        suggested = self._suggest(number)
        if suggested is None:
            return WAIT if self._taken else None
        if suggested == self._searcher.FINISHED:
            return None
        return Proposal(number, self._configuration(suggested), self._question.seeds, self._question.until)

    def take(self, number: int, proposal: Proposal) -> None:
        """Follow the searcher through its suggestion, and withdraw that if another configuration is trained."""
        suggested = self._suggest(number)
        self._suggested = None
        self._taken.add(number)
        config = proposal.config
        # A searcher that is not as it was may have nothing to suggest where it once had.
        if not isinstance(suggested, Mapping):
            self._replaced[number] = None
        elif self._configuration(suggested) != config:
            self._searcher.on_trial_complete(str(number), error=True)
            expressed = all(p.name in config.coordinates for p in self._question.space if p.active(config.values))
            # A searcher wants a value for every parameter, and inactive ones have none but those suggested.
            self._replaced[number] = {**suggested, **config.coordinates} if expressed else None

    def tell(self, number: int, result: TrialResult) -> None:
        """Pass on what came of it; a failed trial ends with an error."""
        self._taken.remove(number)
        if number in self._replaced:
            parameters = self._replaced.pop(number)
            if parameters is not None and result.value is not None and self._learns_points():
                self._searcher.add_evaluated_point(parameters, result.value)
            return
        identifier = str(number)
        if result.value is None:
            self._searcher.on_trial_complete(identifier, error=True)
            return
        evaluations = list(zip(*result.curves.values(), strict=True))
        for index, points in enumerate(evaluations[:-1], 1):
            mean = fmean(metric for _, metric in points)
            self._searcher.on_trial_result(identifier, _result(mean, index, points[0][0]))
        last = _result(result.value, max(1, len(evaluations)), self._question.until)
        self._searcher.on_trial_complete(identifier, last)

    def needed(self) -> Collection[int]:
        """Return none: runs are trained to the end at once."""
        return ()

    def ranking(self) -> Sequence[Standing]:
        """Return none: values decide."""
        return ()

    def _suggest(self, number: int) -> Any:
        """Return a mapping, `Searcher.FINISHED`, or None for not yet; asked once more only after that."""
        if self._suggested is None:
            self._suggested = self._searcher.suggest(str(number))
        return self._suggested

    def _configuration(self, suggested: Mapping[str, Any]) -> Configuration:
        return self._question.space.build(lambda parameter: _coordinate(parameter, suggested))

    def _learns_points(self) -> bool:
        from ray.tune.search import Searcher

        return type(self._searcher).add_evaluated_point is not Searcher.add_evaluated_point


def _make(question: Question) -> Searcher:
    from ray.tune.search import Searcher

    options: RayOptions = question.options
    module, name = options.searcher.split(":")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise AutorlError(f"there is no searcher '{options.searcher}': {error}") from error
    try:
        accepted = inspect.signature(made).parameters
        seeds = {key: question.draw(0) for key in _SEEDS if key in accepted}
        searcher = made(**{**seeds, **options.arguments})
    except Exception as error:  # a searcher raises whatever it likes, assertions included
        raise AutorlError(f"{options.searcher} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(searcher, Searcher):
        raise AutorlError(f"{options.searcher} makes no ray.tune.search.Searcher, but a {type(searcher).__name__}")
    mode = "max" if question.direction == "maximize" else "min"
    if not searcher.set_search_properties(METRIC, mode, {p.name: _domain(p) for p in question.space}):
        raise AutorlError(f"{options.searcher} refuses the search space; leave 'space' out of its arguments")
    return searcher


def _domain(parameter: Parameter) -> Any:
    """Return the domain that Ray Tune would search for a parameter, in search coordinates."""
    from ray import tune

    found = parameter.domain
    if isinstance(found, Choice):
        return tune.choice(list(found.labels))
    if found.integer:
        low, high = int(found.low), int(found.high)
        if found.log:
            return tune.lograndint(low, high + 1)
        if found.step in (None, 1) or low % int(found.step or 1) or high % int(found.step or 1):
            return tune.randint(low, high + 1)
        return tune.qrandint(low, high, int(found.step or 1))
    if found.log:
        return tune.loguniform(found.low, found.high)
    if found.step is not None and _divides(found.step, found.low) and _divides(found.step, found.high):
        return tune.quniform(found.low, found.high, found.step)
    return tune.uniform(found.low, found.high)


def _divides(step: float, number: float) -> bool:
    return bool(np.isclose(number / step, round(number / step)))


def _coordinate(parameter: Parameter, suggested: Mapping[str, Any]) -> Any:
    if parameter.name not in suggested:
        raise AutorlError(f"the searcher suggested no value for {parameter.name}")
    found = suggested[parameter.name]
    found = found.item() if isinstance(found, np.generic) else found
    limits = parameter.domain
    if isinstance(limits, Choice):
        return found
    # Ray's ranges do not hold every upper end, and its steps start from zero: the nearest coordinate is meant.
    if limits.step is not None:
        found = limits.low + round((found - limits.low) / limits.step) * limits.step
    found = min(max(found, limits.low), limits.high)
    return round(found) if limits.integer else float(found)


def _result(value: float, index: int, steps: int) -> dict[str, Any]:
    return {METRIC: value, "training_iteration": index, "timesteps_total": steps}


RAY = Method(
    ray_searcher,
    RayOptions,
    caveat="a study that goes on proposes what it would have only if the searcher draws from its seed alone, and "
    "suggesting nothing leaves it as it was; parameters that are inactive are searched all the same",
    extra="ray",
)
