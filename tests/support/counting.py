"""Counts the batches of a plain `fit`, as the trainer does."""

import keras

from hvd_imgcls.plan.position import Position


class CountBatches(keras.callbacks.Callback):
    """Comes before the callbacks that read the position."""

    def __init__(self, plan):
        super().__init__()
        self.position = Position(plan.gradient_accumulation_steps)

    def on_train_batch_end(self, batch, logs=None):
        self.position.end_batch()

    def on_epoch_end(self, epoch, logs=None):
        self.position.end_epoch()
