"""Images and labels: where they come from, in which order, how they are augmented.

Importing this package does not import TensorFlow: a source's counts and names are needed
to plan a run. `data.dataset` and `data.augment` do.
"""

from hvd_imgcls.config.parts import Source
from hvd_imgcls.data.digits import Digits
from hvd_imgcls.data.source import ImageSource, Split

__all__ = ["ImageSource", "Split", "open_source"]


def open_source(source: Source) -> ImageSource:
    """Returns the source that a configuration names."""
    return Digits(source.held_out_fraction, source.split_seed)
