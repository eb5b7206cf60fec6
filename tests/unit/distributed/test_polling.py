"""Ranks ask each other about once per second, after the same number of ticks."""

import numpy as np
import tensorflow as tf

from hvd_imgcls.distributed.polling import Polling
from hvd_imgcls.environment.topology import Topology


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class OtherRank:
    """The root of two ranks; the other one contributes fixed numbers."""

    topology = Topology.on_hosts(0, 2, 2)

    def __init__(self):
        self.others = [0, 0, 0]
        self.num_asked = 0

    def allreduce(self, tensor, *, op, name):
        assert op.name == "MAX"
        assert name == "poll"
        self.num_asked += 1
        return tf.maximum(tensor, np.array(self.others, np.int64))


def test_the_interval_follows_the_speed_of_the_root():
    ranks, clock = OtherRank(), Clock()
    polling = Polling(ranks, "poll", seconds=1.0, clock=clock)
    asked = []
    for step in range(2000):
        clock.now += 0.01
        if polling.tick(lambda: (0, 0)) is not None:
            asked.append(step)
    gaps = np.diff(asked)
    # Not at once, because the first steps say little; then once per second.
    assert gaps[:3].tolist() == [4, 16, 64]
    assert set(gaps[3:].tolist()) <= {99, 100}


def test_slow_work_asks_every_time_and_restart_asks_at_once():
    ranks, clock = OtherRank(), Clock()
    polling = Polling(ranks, "poll", seconds=1.0, clock=clock)
    for _ in range(5):
        clock.now += 3.0
        assert polling.tick(lambda: (0, 0)) == (0, 0)
    for _ in range(500):
        clock.now += 0.001
        polling.tick(lambda: (0, 0))
    assert polling.tick(lambda: (0, 0)) is None
    polling.restart()
    assert polling.tick(lambda: (0, 0)) == (0, 0)


def test_the_answer_is_the_maximum_over_the_ranks():
    ranks = OtherRank()
    polling = Polling(ranks, "poll", clock=Clock())
    ranks.others = [15, 0, 7]
    assert polling.ask(lambda: (0, 1)) == (15, 1)
    # The interval is that of the root, which is this one or, elsewhere, the larger number.
    assert [polling.tick(lambda: (0, 0)) is None for _ in range(7)] == [True] * 6 + [False]
