"""Understand what the runs say: arrays in, numbers out.

This room turns scores, one for each seed, into estimates that say how far they can be trusted.
It knows no database, no study file and no plot: whatever reads the ledger hands it arrays, and
whatever tells the user gets plain numbers back. Every function is pure and draws no random
numbers, so the same scores always give the same answer.
"""

from autorl.analysis.estimate import Estimate, Statistic, aggregate, estimate
from autorl.analysis.gain import expected_best, gain_of_doubling
from autorl.analysis.headline import Headline, headline
from autorl.analysis.superiority import probability_better

__all__ = [
    "Estimate",
    "Headline",
    "Statistic",
    "aggregate",
    "estimate",
    "expected_best",
    "gain_of_doubling",
    "headline",
    "probability_better",
]
