"""Labels as numbers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["numbered"]


def numbered(labels: Iterable[Hashable]) -> tuple[NDArray[np.intp], int]:
    """Return the number of each label, as they are first met, and how many there are."""
    import numpy as np

    numbers: dict[Hashable, int] = {}
    places = np.fromiter((numbers.setdefault(one, len(numbers)) for one in labels), dtype=np.intp)
    return places, len(numbers)
