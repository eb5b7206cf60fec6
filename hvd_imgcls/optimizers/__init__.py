"""Optimizers that Keras does not have, and extensions of any optimizer.

`building` and `recipe` create them from a configuration.
"""

from hvd_imgcls.optimizers.adaptive_clipping import with_adaptive_clipping
from hvd_imgcls.optimizers.averaging import take_averages, with_averaged_weights
from hvd_imgcls.optimizers.depth import layer_decay_multipliers, layer_groups_of
from hvd_imgcls.optimizers.lars import Lars
from hvd_imgcls.optimizers.lookahead import with_lookahead
from hvd_imgcls.optimizers.momentum_correction import with_momentum_correction
from hvd_imgcls.optimizers.multipliers import with_learning_rate_multipliers
from hvd_imgcls.optimizers.weight_decay import is_kernel, with_weight_decay_on

__all__ = [
    "Lars",
    "is_kernel",
    "layer_decay_multipliers",
    "layer_groups_of",
    "take_averages",
    "with_adaptive_clipping",
    "with_averaged_weights",
    "with_learning_rate_multipliers",
    "with_lookahead",
    "with_momentum_correction",
    "with_weight_decay_on",
]
