"""A synchronisation mode that leaves ranks apart for a while."""

import tensorflow as tf

from hvd_imgcls.keras.communication import operations
from hvd_imgcls.keras.synchronization.mode import SynchronizationMode


class AverageEverySecond(SynchronizationMode):
    """Ranks step by themselves and average their weights after every second update."""

    reduces_to_equal = False

    def build(self, variables, slots=()):
        self.num_averaged = tf.Variable(0, dtype=tf.int64, trainable=False)

    def reduce(self, gradients, variables, groups):
        assert sorted(index for group in groups for index in group) == [0, 1]
        return gradients

    def after_update(self, update, variables):
        def average():
            self._average(variables)
            return tf.constant(True)

        tf.cond(update % 2 == 0, average, lambda: tf.constant(False))

    def are_ranks_equal(self, updates):
        return updates % 2 == 0

    def settle(self, variables):
        self._average([v for v in variables if v.dtype == "float32"])

    def _average(self, variables):
        means = operations.grouped_allreduce(variables, name=f"{self.name}.weights")
        for variable, mean in zip(variables, means, strict=True):
            variable.assign(mean)
        self.num_averaged.assign_add(1)

    def state(self):
        return {"num_averaged": int(self.num_averaged.numpy())}

    def restore(self, state):
        self.num_averaged.assign(state["num_averaged"])
