"""How many images the classes have, in one line, and what to do if they differ a lot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hvd_imgcls.data.order.splits import Numbers

FAR_APART = 5
"""From so many times the images of the smallest class on, class weights are proposed."""


def describe_class_sizes(labels: Numbers, class_names: Sequence[str]) -> str | None:
    """Returns the fewest, median and most images of a class, with the names of the classes.

    Args:
        labels: Label of every training image, `[examples]`, int64.
        class_names: Name of every class.

    Returns:
        None without images.
    """
    if not len(labels) or not len(class_names):
        return None
    counts = np.bincount(labels, minlength=len(class_names))
    fewest, most = int(counts.argmin()), int(counts.argmax())
    return (
        f"images per class: {counts[fewest]:,} ({class_names[fewest]}) to {counts[most]:,} "
        f"({class_names[most]}), median {int(np.median(counts)):,}"
    )


def note_on_class_sizes(labels: Numbers, num_classes: int) -> str | None:
    """Returns a note if the largest class has `FAR_APART` times the images of the smallest one.

    Args:
        labels: Label of every training image, `[examples]`, int64.
        num_classes: Number of classes.
    """
    if not len(labels) or not num_classes:
        return None
    counts = np.bincount(labels, minlength=num_classes)
    if counts.max() < FAR_APART * counts.min():
        return None
    return (
        f"the largest class has at least {FAR_APART} times the training images of the smallest "
        "one; train.class_weights: balanced makes all classes count equally"
    )
