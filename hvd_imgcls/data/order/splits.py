"""The splits of a dataset, and the type of example numbers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Split = Literal["train", "held_out"]
SPLITS: tuple[Split, ...] = ("train", "held_out")
Numbers = npt.NDArray[np.int64]
