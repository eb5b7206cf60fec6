"""Makes a run bitwise reproducible on the same number of ranks of the same machines."""

from __future__ import annotations

import os

import tensorflow as tf

_HOROVOD = {
    # Which tensors are fused depends on timing, and with it the order in which they are added.
    "HOROVOD_FUSION_THRESHOLD": "0",
    "HOROVOD_DISABLE_GROUP_FUSION": "1",
    "HOROVOD_AUTOTUNE": "0",
}


def make_deterministic() -> None:
    """Selects deterministic operations and reductions for the rest of this process.

    Before the ranks are joined, and before the first operation of TensorFlow. The environment of
    Horovod is overwritten. Random seeds, and the order and augmentation of the images, are fixed
    anyway.
    """
    os.environ.update(_HOROVOD)
    tf.config.experimental.enable_op_determinism()
