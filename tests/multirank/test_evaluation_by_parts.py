"""Evaluations from the parts of a divided last layer, against those of the whole one."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest

from tests.support.launch import run_on_ranks

BATCH = 5
THREE = pytest.param(3, marks=[pytest.mark.ranks(3), pytest.mark.slow])


def rows(size, num_classes):
    """Returns logits with ties and large ones, `[size * BATCH, num_classes]`, and labels."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(size * BATCH, num_classes)).astype(np.float32) * 3
    # Ties of many classes; a certain one; the label far behind.
    logits[0] = np.round(logits[0])
    logits[1, 2] = 40.0
    labels = random.integers(0, num_classes, size * BATCH)
    labels[1], labels[2] = 3, int(logits[2].argmin())
    return logits, labels


def results_and_places(num_classes):
    """Returns the results of this rank's examples from parts, and those of all classes."""
    import tensorflow as tf

    from hvd_imgcls import distributed
    from hvd_imgcls.keras.class_sharding.accuracy import ClassShardedTopKAccuracy
    from hvd_imgcls.keras.class_sharding.part import ClassPart
    from hvd_imgcls.keras.class_sharding.results import ResultsFromParts
    from hvd_imgcls.metrics.examples import cross_entropies, examples_of, softmax
    from hvd_imgcls.plan.class_division import ClassDivision

    topology = distributed.start().topology
    rank, size = topology.rank, topology.size
    part = ClassPart(ClassDivision(num_classes=num_classes, num_parts=size, size=size), rank)
    logits, labels = rows(size, num_classes)
    own = slice(rank * BATCH, (rank + 1) * BATCH)
    of_part = tf.constant(logits[:, part.classes.start : part.classes.stop])
    got = ResultsFromParts(part)(of_part, labels[own])
    numbers, probabilities = np.arange(BATCH), softmax(logits[own])
    whole = examples_of(
        numbers, labels[own], probabilities, cross_entropies(labels[own], logits[own])
    )
    top_3 = ClassShardedTopKAccuracy(part, 3, "top_3_accuracy")
    update = tf.function(top_3.update_state, autograph=False)
    update(tf.constant(labels[own]), of_part, tf.constant(np.arange(BATCH), tf.float32))
    is_within = (whole.places < 3) * np.arange(BATCH)
    top = float(top_3.result()), float(is_within.sum() / np.arange(BATCH).sum())
    return got, {one.name: getattr(whole, one.name) for one in fields(whole)}, top


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 2, THREE])
def test_results_of_examples_are_those_of_all_classes(size):
    for got, whole, (top_3, expected) in run_on_ranks(
        results_and_places, size, arguments=[13], timeout_seconds=250
    ):
        assert sorted(got) == sorted(set(whole) - {"numbers", "labels"})
        for name in ("predicted", "places"):
            np.testing.assert_array_equal(got[name], whole[name], err_msg=name)
        for name in ("confidences", "probabilities", "losses", "brier"):
            np.testing.assert_allclose(got[name], whole[name], rtol=1e-12, err_msg=name)
        assert top_3 == pytest.approx(expected, rel=1e-6)


PIPELINE = """
data: {source: {name: digits}}
model: {name: small_cnn, num_filters: [4, 8], num_hidden_units: 16, head: %s}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 96, num_epochs: 1}
evaluation: {block_size: 50, views: flip, metrics: %s}
"""


class Recorded:
    """A function that returns logits, and the shapes of what it has returned."""

    def __init__(self, predict):
        self.predict = predict
        self.shapes = set()

    def __call__(self, images):
        logits = self.predict(images)
        self.shapes.add(tuple(logits.shape))
        return logits


def evaluate_each(cases):
    """Returns the metrics for each head and choice of metrics, and the shapes of the logits."""
    import keras

    from hvd_imgcls import distributed
    from hvd_imgcls.config import parse_config
    from hvd_imgcls.data import open_images
    from hvd_imgcls.keras.class_sharding.head import ClassShardedHead
    from hvd_imgcls.keras.class_sharding.part import ClassPart
    from hvd_imgcls.keras.class_sharding.results import ResultsFromParts
    from hvd_imgcls.models import build_model
    from hvd_imgcls.plan.class_division import ClassDivision
    from hvd_imgcls.plan.making import make_evaluation_plan
    from hvd_imgcls.plan.threads import share_cores
    from hvd_imgcls.workflows.evaluate import EvaluationOptions, evaluate_model
    from hvd_imgcls.workflows.startup.ranks import Ranks
    from hvd_imgcls.workflows.trained_model.test_time_augmentation import make_predict

    collectives = distributed.start()
    rank, size = collectives.topology.rank, collectives.topology.size
    outcomes = []
    for head, metrics in cases:
        config = parse_config(PIPELINE % (head, metrics), [], origin="x.yaml")
        source = open_images(config)
        keras.utils.set_random_seed(0)
        model = build_model(config.model, (8, 8, 1), 10, config.data.normalization)
        # Larger logits, so that there is something to be right and wrong about.
        model.layers[-1].kernel.assign(model.layers[-1].kernel * 5)
        options = EvaluationOptions()
        if head != "dense":
            division = ClassDivision(num_classes=10, num_parts=size, size=size)
            divided = ClassShardedHead(model, ClassPart(division, rank))
            model = divided.model
            options = EvaluationOptions(from_parts=ResultsFromParts(divided.part))
        plan = make_evaluation_plan(
            config, num_examples=source.num_examples("held_out"), size=size, hosts=None
        )
        predict = Recorded(make_predict(model, config.evaluation.views))
        evaluated = evaluate_model(
            predict,
            source,
            config,
            plan,
            ranks=Ranks(collectives=collectives, threads=share_cores(1, 1)),
            options=options,
        )
        outcomes.append((json.loads(json.dumps(evaluated.metrics)), predict.shapes))
    return outcomes


def require_close(got, expected, where=""):
    """Requires equal values, and floats within the rounding of the logits."""
    if isinstance(expected, dict):
        assert sorted(got) == sorted(expected), where
        for key, value in expected.items():
            require_close(got[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(got) == len(expected), where
        for index, (one, value) in enumerate(zip(got, expected, strict=True)):
            require_close(one, value, f"{where}.{index}")
    elif isinstance(expected, float):
        assert got == pytest.approx(expected, rel=1e-5, abs=1e-6), where
    else:
        assert got == expected, where


ALL_ONLY = {"roc_auc", "average_precision"}


@pytest.mark.parametrize("size", [1, 2, THREE])
def test_an_evaluation_by_parts_is_that_of_all_scores(size):
    cases = [("dense", "all"), ("dense", "by_example"), ("class_sharded", "by_example")]
    by_rank = run_on_ranks(evaluate_each, size, arguments=[cases], timeout_seconds=250)
    for rank, ((every, _), (by_example, _), (by_parts, shapes)) in enumerate(by_rank):
        assert by_rank[0][2][0] == by_parts, "the same on all ranks"
        for row in every["per_class"]:
            del row["roc_auc"], row["average_precision"]
        every["intervals"].pop("roc_auc")
        expected = {key: value for key, value in every.items() if key not in ALL_ONLY}
        assert by_example == expected
        require_close(by_parts, expected)
        assert 0.05 < by_parts["top1"] < by_parts["top5"] < 1
        # No rank has seen the scores of all classes: the examples of all ranks, its own classes.
        first, end = (one * 10 // size for one in (rank, rank + 1))
        assert shapes == {(50 * size, end - first)}
