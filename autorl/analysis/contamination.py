"""Whether a language model was trained by RL on the problems that it is evaluated on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autorl.analysis.checks import finite_vector
from autorl.analysis.estimate import Estimate
from autorl.analysis.superiority import probability_better

Entropies = tuple[npt.ArrayLike, npt.ArrayLike]


def entropy_similarity(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return how alike the entropies along two answers to one problem are: the score of Self-Critique.

    RL narrows a policy to one path on what it was trained on; asked for another answer, the model then takes the same
    path, and is as sure of each token as before (Tao et al. 2025, "Detecting Data Contamination from Reinforcement
    Learning Post-training for Large Language Models", arXiv 2510.09259; as in their detectors/self_critique.py):

        cos(h, h') min(m, n) / max(m, n),

    where h and h' are the entropies of the two answers' tokens, the shorter padded with zeros, and m and n their
    lengths. Where one of them is 0 throughout it is 0.

    Args:
        first: Shape ``(m,)``, nats: the entropy of the next token before each token of the model's most probable
            answer, its end included.
        second: Shape ``(n,)``, the same of the answer that it gives when it is shown the first one and asked for
            another, again the most probable one.

    Returns:
        From 0 to 1; contaminated problems have higher ones.

    Raises:
        ValueError: an answer has no token, or an entropy is not finite or below 0.
    """
    answers = finite_vector("first", first), finite_vector("second", second)
    for name, entropies in zip(("first", "second"), answers, strict=True):
        if entropies.min() < 0:
            raise ValueError(f"{name}: an entropy is {entropies.min()}; none is below 0")
    shorter, longer = sorted(answers, key=len)
    norms = np.linalg.norm(shorter) * np.linalg.norm(longer)
    if norms == 0.0:
        return 0.0
    return float(shorter @ longer[: len(shorter)] / norms * len(shorter) / len(longer))


def contamination(suspected: Sequence[Entropies], clean: Sequence[Entropies], *, level: float = 0.95) -> Estimate:
    """Estimate how well `entropy_similarity` tells suspected problems from clean ones: its AUROC, with an interval.

    That is the probability that a suspected problem scores higher than a clean one of the same kind and difficulty,
    see `probability_better`. 0.5 is no sign of contamination; an interval above it is one.

    Args:
        suspected: entropies of both answers to each problem that the model may have been trained on.
        clean: the same of problems that it cannot have been trained on.
        level: Two-sided confidence level, in (0, 1).

    Raises:
        ValueError: there are no problems, or see `entropy_similarity`.
    """
    scores = ([entropy_similarity(*each) for each in problems] for problems in (suspected, clean))
    return probability_better(*scores, level=level)
