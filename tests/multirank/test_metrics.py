"""Figures of an evaluation have the same bytes on any number of ranks."""

import json

import numpy as np
import pytest

from tests.support.launch import run_on_ranks


def evaluate_here(num_examples, num_classes, options):
    """Evaluates made-up logits in blocks of 8 that are dealt to the ranks."""
    from hvd_imgcls import distributed
    from hvd_imgcls.metrics import Collector, evaluate

    collectives = distributed.current()
    rank, size = collectives.topology.rank, collectives.topology.size
    random = np.random.default_rng(0)
    labels = random.integers(0, num_classes, num_examples)
    logits = random.normal(size=(num_examples, num_classes)).astype(np.float32).round(1)
    logits[np.arange(num_examples), labels] += 1
    collector = Collector(
        num_classes=num_classes, num_examples=num_examples, capacity=num_examples + 8, **options
    )
    for number, first in enumerate(range(0, num_examples, 8)):
        if number % size != rank:
            continue
        block = np.arange(first, first + 8)
        block[block >= num_examples] = -1
        if first == 8:
            collector.leave_out(block[:1])
            block[0] = -1
        collector.add(block, labels[block], logits[block])
    names = [f"class {number}" for number in range(num_classes)]
    result = evaluate(collector, names, collectives, seed=3)
    return json.dumps(result.metrics), result.examples.numbers.tolist()


def start(function, *arguments):
    from hvd_imgcls import distributed

    distributed.start()
    return function(*arguments)


@pytest.mark.parametrize(
    ("num_examples", "num_classes", "options"),
    [
        pytest.param(101, 5, {}, id="many"),
        pytest.param(3, 2, {}, id="fewer examples than ranks", marks=pytest.mark.slow),
        pytest.param(57, 70, {"max_bytes": 0}, id="in files", marks=pytest.mark.slow),
    ],
)
@pytest.mark.ranks(4)
def test_any_number_of_ranks_writes_the_same_bytes(num_examples, num_classes, options):
    results = {
        size: run_on_ranks(
            start, size, arguments=(evaluate_here, num_examples, num_classes, options)
        )
        for size in (1, 2, 3, 4)
    }
    expected = results[1][0]
    assert all(result == expected for of_size in results.values() for result in of_size)
    figures = json.loads(expected[0])
    assert figures["num_examples"] == num_examples - (num_examples > 8)
    low, high = figures["intervals"]["top1"]
    assert low <= figures["top1"] <= high
