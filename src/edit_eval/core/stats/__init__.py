"""Statistics of scores: pure functions over numbers.

The unit is the sample, the cluster is the source image. Undefined things are None, never 0. numpy and scipy are imported
inside the functions that need them: a mean with its interval needs of both one quantile. `docs/statistics.md` has every
formula.
"""

from __future__ import annotations

from edit_eval.core.stats.comparison import Paired, PairedComparison, StratumComparison, compare
from edit_eval.core.stats.intervals import FEW, MeanInterval, bounds, mean_interval, t_quantile
from edit_eval.core.stats.linear import LinearError, linear_error
from edit_eval.core.stats.multiple import benjamini_hochberg, holm
from edit_eval.core.stats.permutation import SignFlip, sign_flip
from edit_eval.core.stats.power import Power, power
from edit_eval.core.stats.proportions import Proportion, proportion_interval, proportion_interval_of
from edit_eval.core.stats.ranks import Ranking, RunRank, rank
from edit_eval.core.stats.resampling import Bootstrap, bootstrap, bootstrap_mean, mean_of_groups
from edit_eval.core.stats.variance import Variance, split

__all__ = [
    "FEW",
    "Bootstrap",
    "LinearError",
    "MeanInterval",
    "Paired",
    "PairedComparison",
    "Power",
    "Proportion",
    "Ranking",
    "RunRank",
    "SignFlip",
    "StratumComparison",
    "Variance",
    "benjamini_hochberg",
    "bootstrap",
    "bootstrap_mean",
    "bounds",
    "compare",
    "holm",
    "linear_error",
    "mean_interval",
    "mean_of_groups",
    "power",
    "proportion_interval",
    "proportion_interval_of",
    "rank",
    "sign_flip",
    "split",
    "t_quantile",
]
