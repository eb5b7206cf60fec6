import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.data.order import blocks_of
from hvd_imgcls.errors import BadImagesError
from hvd_imgcls.metrics import Tally, cross_entropies

NUM_CLASSES = 4
NAMES = ("a", "b", "c", "d")


def evaluate_on(size, labels, logits, block_size=8, unreadable=()):
    """Evaluates as `size` ranks would and adds their tallies up in turn."""
    num_examples = len(labels)
    tallies = []
    for rank in range(size):
        blocks = blocks_of(num_examples, block_size)
        tally = Tally.empty(
            num_blocks=len(blocks), num_classes=NUM_CLASSES, num_examples=num_examples
        )
        for number in range(rank, len(blocks), size):
            is_bad = np.isin(blocks[number], unreadable)
            tally.leave_out(blocks[number][is_bad])
            counted = np.where(is_bad, -1, blocks[number])
            safe = np.maximum(counted, 0)
            tally.add(number, counted, labels[safe], logits[safe])
        tallies.append(tally)
    arrays = {
        "evaluation.block_losses": sum(tally.block_losses for tally in tallies),
        "evaluation.confusion": sum(tally.confusion for tally in tallies),
        "evaluation.times_seen": sum(tally.times_seen for tally in tallies),
        "evaluation.times_unreadable": sum(tally.times_unreadable for tally in tallies),
    }
    return tallies[0].summed_over_ranks(lambda name, _: arrays[name])


def random_outputs(num_examples, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, NUM_CLASSES, num_examples)
    return labels, (generator.normal(size=(num_examples, NUM_CLASSES)) * 3).astype(np.float32)


@given(size=st.integers(1, 8), num_examples=st.integers(1, 120), seed=st.integers(0, 99))
def test_result_on_any_number_of_ranks_has_the_same_bytes(size, num_examples, seed):
    labels, logits = random_outputs(num_examples, seed)
    alone = json.dumps(evaluate_on(1, labels, logits).result(NAMES))
    assert json.dumps(evaluate_on(size, labels, logits).result(NAMES)) == alone


@pytest.mark.parametrize("size", [1, 3])
def test_result_without_unreadable_examples_is_that_of_the_others(size):
    labels, logits = random_outputs(50)
    unreadable = [0, 7, 8, 49]
    result = evaluate_on(size, labels, logits, unreadable=unreadable).result(NAMES)
    assert (result.pop("num_unreadable"), result["num_examples"]) == (4, 46)
    rest = np.setdiff1d(np.arange(50), unreadable)
    others = evaluate_on(1, labels[rest], logits[rest]).result(NAMES)
    assert others.pop("num_unreadable") == 0
    assert result.pop("loss") == pytest.approx(others.pop("loss"), rel=1e-12)
    assert result == others


def test_result_of_unreadable_examples_alone_is_an_error():
    labels, logits = random_outputs(2)
    with pytest.raises(BadImagesError, match="none of the 2 held-out images can be read"):
        evaluate_on(1, labels, logits, unreadable=[0, 1]).result(NAMES)


def test_result_is_that_of_scikit_learn():
    from sklearn.metrics import confusion_matrix, log_loss, recall_score

    labels, logits = random_outputs(333)
    result = evaluate_on(3, labels, logits).result(NAMES)
    exact = logits.astype(np.float64)
    probabilities = np.exp(exact) / np.exp(exact).sum(axis=1, keepdims=True)
    predicted = logits.argmax(axis=1)
    assert result["loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-9)
    assert result["confusion_matrix"] == confusion_matrix(labels, predicted).tolist()
    recalls = recall_score(labels, predicted, average=None)
    assert list(result["recall_per_class"].values()) == pytest.approx(recalls.tolist())
    assert result["num_correct"] == int((labels == predicted).sum())
    assert result["top1"] == result["num_correct"] / 333


def test_result_with_an_example_counted_twice_is_refused():
    labels, logits = random_outputs(8)
    tally = evaluate_on(1, labels, logits)
    tally.add(0, np.arange(8), labels, logits)
    with pytest.raises(RuntimeError, match="8 examples were not counted exactly once"):
        tally.result(NAMES)


def test_result_with_an_example_left_out_is_refused():
    tally = Tally.empty(num_blocks=1, num_classes=NUM_CLASSES, num_examples=3)
    with pytest.raises(RuntimeError, match="counted 0 times"):
        tally.result(NAMES)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_result_of_a_diverged_model_has_no_loss_and_is_still_json(value):
    labels, logits = random_outputs(8)
    logits[3] = value
    result = evaluate_on(2, labels, logits).result(NAMES)
    assert result["loss"] is None
    json.dumps(result, allow_nan=False)


def test_recall_of_a_class_without_examples_is_none():
    labels, logits = random_outputs(8)
    result = evaluate_on(1, np.zeros_like(labels), logits).result(NAMES)
    assert result["recall_per_class"]["d"] is None


def test_cross_entropy_of_large_logits_does_not_overflow():
    losses = cross_entropies(np.array([0, 1]), np.array([[3e4, 0.0], [3e4, 0.0]], np.float32))
    assert losses.tolist() == [0.0, 3e4]
