"""On how many of the tuning seeds an optimizer trains each configuration, where it does not choose that itself."""

from __future__ import annotations

from pydantic import Field

from autorl.errors import AutorlError
from autorl.optimizers.protocol import Question
from autorl.spec.section import Spec, Whole


class SeedsOptions(Spec):
    """On how many seeds configurations are tuned."""

    seeds: Whole | None = Field(
        default=None,
        ge=1,
        description="How many tuning seeds, from the first on, each configuration is trained on; by default all.",
    )


def tuned_seeds(question: Question, options: SeedsOptions) -> tuple[int, ...]:
    """Return the seeds that each configuration is trained on.

    Raises:
        AutorlError: there are not so many.
    """
    if options.seeds is not None and options.seeds > len(question.seeds):
        raise AutorlError(f"optimizer.seeds: {options.seeds}, but the study has {len(question.seeds)} tuning seeds")
    return question.seeds[: options.seeds]
