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

    listed = list(labels)
    numbers = {label: number for number, label in enumerate(dict.fromkeys(listed))}
    return np.array(list(map(numbers.__getitem__, listed)), dtype=np.intp), len(numbers)
