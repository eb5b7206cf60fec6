"""Recomputes the moving statistics of batch normalisation from batches of all ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import global_process_set
from hvd_imgcls.distributed.agreement import name_ranks
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.checks import consistency
from hvd_imgcls.keras.communication.signatures import require_same_signatures
from hvd_imgcls.keras.layers.moving_statistics import (
    assign_flat,
    average_moving_statistics,
    flat_values,
    layers_of,
    statistics_of,
)
from hvd_imgcls.keras.layers.present_examples import counting
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of


def recalibrate(model: keras.Model, batches: Iterable[Any], *, num_batches: int) -> None:
    """Replaces the moving statistics with the mean over some batches of all ranks.

    Examples of weight 0 do not count; batches are weighted by the number of the others.

    The weights do not change. Useful if the moving statistics lag behind the
    weights: after short training at a high learning rate, or for averaged weights
    (Wu and Johnson 2021, arXiv:2105.07576, section 3).

    Collective: every rank must call this with the same number of batches.

    Args:
        model: A built model, with the same weights on all ranks, except for local variables of
            its optimizer.
        batches: Yields (images, targets) or (images, targets, weights) of this rank, as in
            training; read `num_batches` times.
        num_batches: At least 1.

    Raises:
        RankMismatchError: On all ranks, before the first batch, if they have other models, weights
            or numbers of batches.
        ConfigError: On all ranks, if `num_batches` is less than 1 or one of them has fewer.
    """
    layers = layers_of(model)
    variables = statistics_of(layers)
    _require_same_task(model, variables, num_batches)
    if num_batches < 1:
        raise ConfigError("num_batches", got=num_batches, expected="at least 1", fix="change it")
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    sums = np.zeros(sum(int(np.prod(variable.shape)) for variable in variables), np.float64)
    total = 0.0
    try:
        for layer in layers:
            layer.momentum = 0.0  # the moving statistics become those of the last batch

        @tf.function
        def forward(images: tf.Tensor, weights: tf.Tensor) -> None:
            with counting(weights):
                model(images, training=True)

        for images, *others in _on_all_ranks(batches, num_batches):
            present = others[1] if len(others) > 1 else tf.ones(tf.shape(images)[:1])
            forward(images, present)
            number = float(tf.math.count_nonzero(present))
            sums += number * flat_values(variables)
            total += number
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if total:
        assign_flat(variables, sums / total)
    average_moving_statistics(model, weight=total)


def _require_same_task(
    model: keras.Model, statistics: list[keras.Variable], num_batches: int
) -> None:
    """Compares model, weights and number of batches. Collective: every rank must call this."""
    if distributed.current().topology.size == 1:
        return
    optimizer = getattr(model, "optimizer", None)
    synchronizer = synchronizer_of(optimizer)
    weights = list(model.trainable_variables)
    if synchronizer is not None:
        weights = synchronizer.reduction.shared(weights)
    require_same_signatures(
        [*statistics, *weights],
        {
            "of": "recalibrate",
            "model.class": type(model).__name__,
            "num_batches": num_batches,
            "moving statistics": len(statistics),
        },
        fix="pass the same model and num_batches to hvd.recalibrate on every rank",
    )
    consistency.require_same_values(
        weights,
        0 if optimizer is None else int(optimizer.iterations),
        global_process_set,
        fix="load the same weights on every rank, or call hvd.broadcast_variables, before "
        "hvd.recalibrate",
    )


def _on_all_ranks(batches: Iterable[Any], num_batches: int) -> Iterator[Any]:
    """Yields the first batches. Collective: a small message for each.

    Layers may communicate in a forward pass, so no rank may begin one that another does not have.

    Raises:
        ConfigError: On all ranks, if one of them has fewer.
    """
    missing = object()
    iterator = iter(batches)
    for index in range(num_batches):
        batch = next(iterator, missing)
        flag = tf.constant([int(batch is not missing)], tf.int32)
        flags = distributed.current().allgather(flag, name="recalibrate.has_batch").numpy().tolist()
        if not all(flags):
            them = [rank for rank, has_one in enumerate(flags) if not has_one]
            raise ConfigError(
                "batches",
                got=f"{index} on {name_ranks(them)}",
                expected=f"{num_batches}, as num_batches says",
                fix="pass more batches, such as a dataset with repeat(), or a smaller num_batches",
            )
        yield batch
