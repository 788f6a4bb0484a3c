"""Statistics of scores: pure functions over numbers.

The unit is the sample, the cluster is the source image. Undefined things are None, never 0. numpy and scipy are imported
inside the functions that need them: a mean with its interval needs of both one quantile. `docs/statistics.md` has every
formula.
"""

from __future__ import annotations

from edit_eval.core.stats.comparison import Paired, PairedComparison, StratumComparison, compare
from edit_eval.core.stats.intervals import FEW, MeanInterval, bounds, mean_interval, t_quantile
from edit_eval.core.stats.multiple import benjamini_hochberg, holm
from edit_eval.core.stats.permutation import SignFlip, sign_flip
from edit_eval.core.stats.power import Power, power
from edit_eval.core.stats.ranks import Ranking, RunRank, rank

__all__ = [
    "FEW",
    "MeanInterval",
    "Paired",
    "PairedComparison",
    "Power",
    "Ranking",
    "RunRank",
    "SignFlip",
    "StratumComparison",
    "benjamini_hochberg",
    "bounds",
    "compare",
    "holm",
    "mean_interval",
    "power",
    "rank",
    "sign_flip",
    "t_quantile",
]
