"""Whether paired differences are centred on 0: a test that needs no distribution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SignFlip", "sign_flip"]

_EXACT_UP_TO = 14  # clusters that differ: 16,384 patterns
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class SignFlip:
    """A sign-flip test.

    Attributes:
        p: two-sided; None under two clusters.
        exact: whether every pattern of signs was tried.
    """

    p: float | None
    exact: bool


def sign_flip(totals: Sequence[float], *, resamples: int = 9_999, seed: int = 0) -> SignFlip:
    """Return how often sums with random signs are as far from 0 as the sum of `totals` is.

    If two runs do not differ, a cluster's difference is as likely to have either sign (Fisher 1935, The Design of
    Experiments, section 21). Up to 14 totals other than 0, for which signs do not matter, every pattern of signs is tried:
    p is the share of those at least as far out. With more, p is (b + 1) / (m + 1) where b of m random patterns are (Phipson and
    Smyth 2010, Permutation P-values Should Never Be Zero).

    The order of the totals and a change of all their signs change nothing, to the last bit.

    Args:
        totals: the sum of the differences of each cluster, or anything proportional to it.
        resamples: random patterns, m.
        seed: of the random patterns.

    Raises:
        ValueError: a total that is not finite, or no resample.
    """
    import numpy as np

    if not all(map(math.isfinite, totals)):
        raise ValueError("totals must be finite")
    if resamples < 1:
        raise ValueError("at least one resample")
    if len(totals) < 2:
        return SignFlip(None, exact=False)
    sizes = np.sort(np.abs(np.asarray(totals, dtype=float)))
    sizes = sizes[sizes > 0]
    # Sums that are equal but for rounding are as far out: scores on a scale of whole numbers tie often.
    far = abs(math.fsum(totals)) - 1e-9 * float(sizes.sum())
    if len(sizes) <= _EXACT_UP_TO:
        sums = _every(sizes)
        return SignFlip(float(np.mean(np.abs(sums) >= far)), exact=True)
    beyond = sum(int(np.count_nonzero(np.abs(sums) >= far)) for sums in _some(sizes, resamples, seed))
    return SignFlip((beyond + 1) / (resamples + 1), exact=False)


def _every(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of the sizes with every pattern of signs."""
    import numpy as np

    patterns = np.arange(1 << len(sizes))[:, None] >> np.arange(len(sizes)) & 1
    sums: NDArray[np.float64] = sizes.sum() - 2 * (patterns @ sizes)
    return sums


def _some(sizes: NDArray[np.float64], resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield the sums of the sizes with random signs, some resamples at a time.

    A random byte stands for the signs of eight sizes, whose sum is looked up.
    """
    import numpy as np

    octets = np.zeros((-(-len(sizes) // 8), 8))
    octets.ravel()[: len(sizes)] = sizes
    signs = 1.0 - 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    looked_up = (octets @ signs.T).ravel()  # 256 sums of each octet
    places = 256 * np.arange(len(octets))
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_BYTES // (16 * len(octets)))
    for start in range(0, resamples, chunk):
        drawn = generator.integers(256, size=(min(chunk, resamples - start), len(octets)))
        yield looked_up[drawn + places].sum(axis=1)
