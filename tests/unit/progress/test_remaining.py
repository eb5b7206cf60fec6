"""The time left counts what is still to be traced, and what follows the training."""

import pytest

from hvd_imgcls.workflows.progress.remaining import RemainingTime


def test_traces_and_what_follows_are_counted():
    remaining = RemainingTime(num_batches=100, num_traces=3, later_images=500)
    remaining.begin(1000.0, 0)
    at = {"num_batches": 1, "traces": 1, "images_per_second": 50.0}
    assert remaining.seconds(1030.0, **at) is None
    remaining.end_first_batch(1030.0)
    assert remaining.seconds(1030.0, **at) is None
    # 10 batches in 20 s, 89 to come; two traces of 30 s; 500 images at 50 per second.
    at["num_batches"] = 11
    assert remaining.seconds(1050.0, **at) == pytest.approx(89 * 2 + 60 + 10)
    # After the second trace, and without a known speed.
    at |= {"traces": 2, "images_per_second": None}
    assert remaining.seconds(1050.0, **at) == pytest.approx(89 * 2 + 30)


def test_a_resumed_phase_counts_from_where_it_begins():
    remaining = RemainingTime(num_batches=100)
    remaining.begin(0.0, 50)
    remaining.end_first_batch(5.0)
    remaining.end_first_batch(50.0)
    at = {"num_batches": 61, "traces": 1, "images_per_second": None}
    assert remaining.seconds(15.0, **at) == pytest.approx(39)
