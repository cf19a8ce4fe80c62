"""Aliases that say what an array or a number means."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

UserId: TypeAlias = int
ItemId: TypeAlias = int
Genre: TypeAlias = str

Ids: TypeAlias = npt.NDArray[np.int64]
Positions: TypeAlias = npt.NDArray[np.intp]
Floats: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
# scipy ships no type information; a CSR matrix (n_users, n_items) whose stored values are ratings 1..10.
RatingMatrix: TypeAlias = Any
