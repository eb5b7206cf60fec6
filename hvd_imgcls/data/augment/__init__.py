"""Random augmentation of batches of equally sized training images, uint8 in and uint8 out.

The result for an example is a pure function of its pixels, `train.seed`, the epoch and its
number (when mixing, also of its neighbour's). To be bit-identical in any batch, on any rank
and thread, compiled or not, pixels are computed in integers or with a single final rounding,
and non-uniform random numbers come from tables.
"""

from hvd_imgcls.data.augment.batch import Batch
from hvd_imgcls.data.augment.making import Augment, make_augment

__all__ = ["Augment", "Batch", "make_augment"]
