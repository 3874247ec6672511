"""Arrays side by side: the columns of several arrays as those of one, without a copy of any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Arrays [N, D1], [N, D2], … that are read as one array [N, D1 + D2 + …]; only what is read is copied."""

    arrays: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and of columns of all arrays."""
        return len(self), sum(array.shape[1] for array in self.arrays)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers."""
        return self.arrays[0].dtype

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> np.ndarray:
        """What the index, of rows or of rows and columns, means for the one array."""
        rows, *columns = index if isinstance(index, tuple) else (index,)
        joined = np.concatenate([array[rows] for array in self.arrays], axis=-1)
        return joined[(..., *columns)] if columns else joined

    def copy(self) -> np.ndarray:
        """All of it as one array."""
        return self[:]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)
