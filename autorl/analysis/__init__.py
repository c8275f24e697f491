"""Understand what the runs say: arrays in, numbers out.

This room turns scores, one for each seed, into estimates that say how far they can be trusted.
It knows no database, no study file and no plot: whatever reads the ledger hands it arrays, and
whatever tells the user gets plain numbers back. Every function is pure, or draws from the
generator it is handed and from nothing else, so the same scores (and the same generator) always
give the same answer.
"""

from autorl.analysis.checks import Direction
from autorl.analysis.contamination import contamination, entropy_similarity
from autorl.analysis.cost import Cost, cost_by_phase, speed_up
from autorl.analysis.difference import difference
from autorl.analysis.estimate import Estimate, Statistic, aggregate, estimate, prediction
from autorl.analysis.front import (
    attainment,
    hypervolume,
    hypervolume_gap,
    knee,
    preferred,
    probability_undominated,
    spread_out,
    undominated,
)
from autorl.analysis.gain import expected_best, gain_of_doubling
from autorl.analysis.headline import Headline, headline
from autorl.analysis.learning import (
    FidelityCorrelation,
    ThresholdSummary,
    area_under_curve,
    fidelity_correlation,
    final_against_best,
    steps_to_threshold,
    threshold_summary,
)
from autorl.analysis.overfitting import VarianceSplit, seeds_needed, split_variance, winners_curse
from autorl.analysis.posterior import Means, probability_below, shrunk_means
from autorl.analysis.ranks import rank_correlation
from autorl.analysis.reliability import (
    Metric,
    PerformanceProfile,
    ScoreDistribution,
    TasksEstimate,
    aggregate_tasks,
    cvar,
    estimate_tasks,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
)
from autorl.analysis.sigmoid import HeldOutError, SigmoidFit, held_out_error, sigmoid_fit
from autorl.analysis.superiority import probability_better, probability_on_a_fresh_seed

__all__ = [
    "Cost",
    "Direction",
    "Estimate",
    "FidelityCorrelation",
    "Headline",
    "HeldOutError",
    "Means",
    "Metric",
    "PerformanceProfile",
    "ScoreDistribution",
    "SigmoidFit",
    "Statistic",
    "TasksEstimate",
    "ThresholdSummary",
    "VarianceSplit",
    "aggregate",
    "aggregate_tasks",
    "area_under_curve",
    "attainment",
    "contamination",
    "cost_by_phase",
    "cvar",
    "difference",
    "entropy_similarity",
    "estimate",
    "estimate_tasks",
    "expected_best",
    "fidelity_correlation",
    "final_against_best",
    "gain_of_doubling",
    "headline",
    "held_out_error",
    "hypervolume",
    "hypervolume_gap",
    "knee",
    "performance_profile",
    "prediction",
    "preferred",
    "probability_below",
    "probability_better",
    "probability_of_improvement",
    "probability_on_a_fresh_seed",
    "probability_undominated",
    "rank_correlation",
    "seeds_needed",
    "shrunk_means",
    "sigmoid_fit",
    "speed_up",
    "split_variance",
    "spread_out",
    "steps_to_threshold",
    "stratified_bootstrap",
    "threshold_summary",
    "undominated",
    "winners_curse",
]
