"""How far several opinions of the same things agree: of judges, of raters, of a judge and itself, of comparisons.

Pure functions over numbers. Undefined things are None, never 0 and never NaN. numpy and scipy are imported inside the
functions that need them.

order       the same order: Spearman, Kendall, pairs
accuracy    pairs ordered as the truth does, with ties and without
raters      the same scores: Krippendorff's alpha, intraclass correlations
strengths   comparisons of two at a time: Bradley-Terry with ties
judges      what is said of a second judge, or of a judge asked twice
"""

from __future__ import annotations

from edit_eval.core.stats.agreement.accuracy import (
    PairwiseAccuracy,
    Share,
    TieThreshold,
    pairwise_accuracy,
    tie_threshold,
)
from edit_eval.core.stats.agreement.coefficient import Coefficient
from edit_eval.core.stats.agreement.judges import Bridge, Noise, bridge, noise
from edit_eval.core.stats.agreement.order import Pairs, count_pairs, kendall_tau_b, spearman
from edit_eval.core.stats.agreement.raters import IntraclassCorrelation, icc, krippendorff_alpha
from edit_eval.core.stats.agreement.strengths import BradleyTerry, Strength, bradley_terry

__all__ = [
    "BradleyTerry",
    "Bridge",
    "Coefficient",
    "IntraclassCorrelation",
    "Noise",
    "Pairs",
    "PairwiseAccuracy",
    "Share",
    "Strength",
    "TieThreshold",
    "bradley_terry",
    "bridge",
    "count_pairs",
    "icc",
    "kendall_tau_b",
    "krippendorff_alpha",
    "noise",
    "pairwise_accuracy",
    "spearman",
    "tie_threshold",
]
