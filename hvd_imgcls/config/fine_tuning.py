"""What is different when a trained network is trained further."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, LeftOpenFraction


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class FineTuning:
    """What is different when a trained network is trained further."""

    layer_decay: LeftOpenFraction = 1.0
    """Learning rate of a block as a fraction of that of the next one; the last layer has it whole.

    Clark et al. 2020 (arXiv:2003.10555), for images Bao et al. 2022 (arXiv:2106.08254). A block is
    what lies between two places that every path through the network passes and that has a kernel:
    a residual block, half a transformer block, or a layer of a plain network. 1 for none.
    """
