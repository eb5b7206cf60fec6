"""Images and labels: sources, order, decoding, augmentation and placement.

Importing this package does not import TensorFlow, because planning a run needs only the counts
and names of a source. `data.dataset`, `data.decoding`, `data.image_files` and `data.augment` do.
"""

from hvd_imgcls.data.opening import (
    host_shares_of,
    make_plan_for,
    open_images,
    open_source,
    opens_without_tensorflow,
)
from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.data.sources.base import ArraySource, EncodedSource, ImageSource
from hvd_imgcls.data.sources.image_shape import image_shape_of

__all__ = [
    "ArraySource",
    "EncodedSource",
    "ImageSource",
    "Split",
    "host_shares_of",
    "image_shape_of",
    "make_plan_for",
    "open_images",
    "open_source",
    "opens_without_tensorflow",
]
