"""Random changes of whole batches of training images of one size, uint8 in and uint8 out.

What happens to an example is a pure function of its pixels, `train.seed`, the epoch and its
number (for mixing, also of its neighbour's). So that it is the same to the last bit in any
batch, on any rank and thread, compiled or not, pixels are computed in integers or with one
rounding at the end, and numbers that are not evenly distributed come from tables.
"""

from hvd_imgcls.data.augment.batch import Batch
from hvd_imgcls.data.augment.making import Augment, make_augment

__all__ = ["Augment", "Batch", "make_augment"]
