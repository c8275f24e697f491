"""What the hyperparameters do: importance, effects, and what the winner would lose.

Configurations are points: one coordinate in [0, 1] for each hyperparameter on the scale of the search, the middle of a
choice's bin, NaN where a condition leaves the hyperparameter inactive. A random forest learns the scores of the points
that were tried, and everything here is read off it: where it explains little (`Forest.explained`), all of it means
little. Averages are over the search space, not over the points tried, which an optimizer has chosen.
"""

from autorl.analysis.sensitivity.ablation import Step, ablation_path
from autorl.analysis.sensitivity.adjusted import adjusted_means
from autorl.analysis.sensitivity.effects import Effect, effect, local_importance, neighbours
from autorl.analysis.sensitivity.forest import Axis, Domain, Forest
from autorl.analysis.sensitivity.importance import agreement, chance_of_agreement, interactions, main_effects
from autorl.analysis.sensitivity.ped_anova import best_share, ped_anova

__all__ = [
    "Axis",
    "Domain",
    "Effect",
    "Forest",
    "Step",
    "ablation_path",
    "adjusted_means",
    "agreement",
    "best_share",
    "chance_of_agreement",
    "effect",
    "interactions",
    "local_importance",
    "main_effects",
    "neighbours",
    "ped_anova",
]
