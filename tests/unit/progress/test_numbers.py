"""Shares, summaries and lines: plain arithmetic."""

import numpy as np
import pytest

from hvd_imgcls.text.numbers import duration
from hvd_imgcls.workflows.progress.lines import TrainingStatus, progress_line
from hvd_imgcls.workflows.progress.record import EpochRecord, Record
from hvd_imgcls.workflows.progress.summary import describe_run, summarize
from hvd_imgcls.workflows.progress.waiting import MAX_BINS, Times, in_bins, times_of

METRICS = {"top1": 0.75, "loss": 0.5, "num_correct": 3, "num_examples": 4}


def rows(*reductions, data=(0.0, 0.0, 0.0)):
    return np.array([[10.0, data[rank], *own] for rank, own in enumerate(reductions)])


def test_who_waits_is_told_step_by_step():
    # In every step another rank comes last and sees the transfer alone: 0.1 s.
    times = times_of(rows([0.1, 0.5, 0.4], [0.6, 0.1, 0.4], [0.6, 0.5, 0.1]))
    np.testing.assert_allclose(times.rank_seconds, [0.7, 0.8, 0.9])
    assert times.rank_share == pytest.approx(2.4 / 30)
    assert times.slowest_rank == 0


def test_a_transfer_that_takes_long_on_all_ranks_is_no_waiting():
    times = times_of(rows([3.0], [3.0], [3.0]))
    assert times.rank_share == 0


def test_shares_of_several_epochs_weigh_by_time():
    one = times_of(rows([1.0], [0.0], [0.0], data=(0, 3, 0)))
    other = times_of(rows([0.0], [0.0], [0.0]))
    assert (one + other).data_share == pytest.approx(3 / 60)
    assert (one + other).rank_share == pytest.approx(1 / 60)
    assert Times(
        seconds=np.zeros(2), data_seconds=np.zeros(2), rank_seconds=np.zeros(2)
    ).data_share is None  # fmt: skip


@pytest.mark.parametrize("number", [0, 1, MAX_BINS, MAX_BINS + 1, 12_345])
def test_bins_lose_no_time(number):
    values = np.random.default_rng(0).random(number)
    bins = in_bins(values)
    assert len(bins) == min(number, MAX_BINS)
    assert bins.sum() == pytest.approx(values.sum())


def record_of(times, **arguments):
    record = Record(clock=lambda: 100.0, began=25.0, **arguments)
    record.epochs.append(EpochRecord(num_images=500, seconds=10.0, times=times))
    return record


def test_summary_names_the_slow_rank_and_who_waited_for_it():
    times = times_of(rows([5.1], [0.1], [5.1], data=(0, 4, 0)))
    summary = summarize(record_of(times, training_seconds=60.0), METRICS, num_bad_images=2)
    assert summary["slowest_rank"] == 1
    assert summary["rank_wait_share"] == pytest.approx(1 / 3, abs=1e-4)
    assert [rank["rank_wait_share"] for rank in summary["ranks"]] == [0.5, 0, 0.5]
    assert (summary["seconds"]["total"], summary["images_per_second"]) == (75.0, 50.0)
    assert describe_run(summary) == [
        "time: 1 min 15 s (training 1 min 0 s, evaluation 0 s)",
        "speed: 50 images/s in training",
        "waiting: data 13 % (rank 1: 40 %), other ranks 33 % (rank 0: 50 %); slowest: rank 1",
        "left out: 2 unreadable images",
    ]


def test_summary_of_ranks_that_are_alike_names_none():
    summary = summarize(
        record_of(times_of(rows([0.1], [0.3], [0.2])), num_steps=40, num_skipped_steps=2),
        METRICS,
        num_bad_images=0,
    )
    assert describe_run(summary)[-2:] == [
        "waiting: data 0 %, other ranks 1 %",
        "skipped: 2 of 40 steps, with NaN or infinite gradients",
    ]


def test_summary_of_a_run_without_an_epoch_says_what_there_is():
    summary = summarize(Record(clock=lambda: 3.0, began=1.0), METRICS, num_bad_images=0)
    assert (summary["images_per_second"], summary["ranks"]) == (None, [])
    assert describe_run(summary) == ["time: 2 s (training 0 s, evaluation 0 s)"]


def test_line_shows_metrics_of_a_validation_and_leaves_out_what_is_unknown():
    line = progress_line(
        TrainingStatus(
            epoch=2,
            num_epochs=3,
            step=20,
            num_steps=30,
            logs={"loss": 0.5, "val_loss": 0.25, "lr": 1},
            is_of_this_rank=False,
            images_per_second=None,
            seconds_left=None,
            waiting={"data": None},
        )
    )
    assert line == "epoch 2/3  step 20/30  loss 0.5000  val_loss 0.2500"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3725, "1 h 2 min")]
)
def test_duration_is_said_as_people_say_it(seconds, text):
    assert duration(seconds) == text
