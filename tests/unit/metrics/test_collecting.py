"""Every example is counted once, and what is known of it does not depend on who has counted."""

import json
import math

import numpy as np
import pytest

from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.errors import BadImagesError, ConfigError
from hvd_imgcls.metrics import Collector, evaluate
from hvd_imgcls.metrics.examples import cross_entropies

NAMES = ("a", "b", "c", "d")


def random_outputs(num_examples, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(NAMES), num_examples)
    return labels, (random.normal(size=(num_examples, len(NAMES))) * 3).astype(np.float32)


def collector_of(num_examples, **options):
    return Collector(
        num_classes=len(NAMES), num_examples=num_examples, capacity=num_examples, **options
    )


def metrics_of(collector):
    return evaluate(collector, NAMES, SingleProcessCollectives()).metrics


def test_order_and_size_of_the_blocks_and_where_scores_are_kept_do_not_matter(tmp_path):
    labels, logits = random_outputs(50)
    whole, parts = collector_of(50), collector_of(50, directory=tmp_path, max_bytes=0)
    whole.add(np.arange(50), labels, logits)
    for block in np.array_split(np.random.default_rng(1).permutation(50), 7):
        parts.add(np.append(block, -1), np.append(labels[block], 0), logits[np.append(block, 0)])
    assert json.dumps(metrics_of(parts)) == json.dumps(metrics_of(whole))
    assert list(tmp_path.iterdir()) == []


def test_figures_without_unreadable_examples_are_those_of_the_others():
    labels, logits = random_outputs(50)
    bad = np.array([0, 7, 8, 49])
    rest = np.setdiff1d(np.arange(50), bad)
    some, others = collector_of(50), collector_of(46)
    some.leave_out(bad)
    some.add(rest, labels[rest], logits[rest])
    others.add(np.arange(46), labels[rest], logits[rest])
    metrics, expected = metrics_of(some), metrics_of(others)
    assert (metrics.pop("num_unreadable"), expected.pop("num_unreadable")) == (4, 0)
    assert metrics == expected


def test_none_but_unreadable_examples_are_an_error():
    collector = collector_of(2)
    collector.leave_out(np.array([0, 1]))
    with pytest.raises(BadImagesError, match="none of the 2 held-out images can be read"):
        metrics_of(collector)


def test_an_example_that_is_counted_twice_is_refused():
    labels, logits = random_outputs(8)
    collector = Collector(num_classes=len(NAMES), num_examples=8, capacity=9)
    collector.add(np.arange(8), labels, logits)
    collector.add(np.arange(1), labels[:1], logits[:1])
    with pytest.raises(RuntimeError, match=r"1 examples were not .* first is 0, counted 2 times"):
        metrics_of(collector)


def test_an_example_that_is_not_counted_is_refused():
    labels, logits = random_outputs(8)
    collector = collector_of(9)
    collector.add(np.arange(8), labels, logits)
    with pytest.raises(RuntimeError, match="first is 8, counted 0 times"):
        metrics_of(collector)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_diverged_model_has_no_figures_and_is_still_json(value):
    labels, logits = random_outputs(8)
    logits[3] = value
    collector = collector_of(8)
    collector.add(np.arange(8), labels, logits)
    metrics = json.loads(json.dumps(metrics_of(collector), allow_nan=False))
    assert (metrics["num_not_finite"], metrics["loss"], metrics["top1"]) == (1, None, None)


def test_cross_entropy_of_large_logits_does_not_overflow():
    losses = cross_entropies(np.array([0, 1]), np.array([[3e4, 0.0], [3e4, 0.0]], np.float32))
    assert losses.tolist() == [0.0, 3e4]


def test_of_equal_probabilities_the_first_class_is_predicted_and_only_it_is_right():
    collector = collector_of(2)
    collector.add(np.arange(2), np.array([0, 3]), np.zeros((2, 4), np.float32))
    examples = collector.examples()
    assert examples.predicted.tolist() == [0, 0]
    assert examples.places.tolist() == [0, 3]
    assert metrics_of(collector)["top1"] == 0.5


def test_probabilities_are_distributions_and_labels_are_classes():
    good, labels, numbers = np.full((3, 4), 0.25), np.array([0, 1, 3]), np.arange(3)
    collector_of(3).add_probabilities(numbers, labels, good.astype(np.float16))
    wrong = good.copy()
    wrong[1, 2] = 0.5
    negative = good + np.array([-0.5, 0.5, 0, 0])
    for values, said in ((wrong, "row 1 with the sum 1.25"), (negative, "least value -0.25")):
        with pytest.raises(ConfigError, match=f"probabilities: got .*{said}.*apply softmax"):
            collector_of(3).add_probabilities(numbers, labels, values)
    for add in (collector_of(3).add_probabilities, collector_of(3).add):
        with pytest.raises(ConfigError, match=r"labels: got '4 in row 2', expected 0 to 3"):
            add(numbers, np.array([0, 1, 4]), good)
        with pytest.raises(ConfigError, match=r"labels: got '-1 in row 0'"):
            add(numbers, np.array([-1, 1, 3]), good)
        with pytest.raises(ConfigError, match=r"numbers: got '3 in row 2', expected 0 to 2"):
            add(np.array([0, 1, 3]), labels, good)
        with pytest.raises(ConfigError, match=r"outputs \(3, 4\)"):
            add(numbers, labels, good[:, :3])
        with pytest.raises(ConfigError, match="capacity: got '3, but 4 examples'"):
            add(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 3]), np.full((4, 4), 0.25))


def test_every_class_has_one_name():
    labels, logits = random_outputs(8)
    for names in (NAMES[:3], ("a", "b", "c", "a")):
        collector = collector_of(8)
        collector.add(np.arange(8), labels, logits)
        with pytest.raises(ConfigError, match="class_names: got"):
            evaluate(collector, names, SingleProcessCollectives())
