"""Finds the examples of a step that made its gradient NaN or infinite."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls.data.order.positions import rank_rows
from hvd_imgcls.data.pipeline.dataset import Start, training_dataset
from hvd_imgcls.data.placement.exchange import exchanged_records
from hvd_imgcls.keras.checks.non_finite import all_finite
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.workflows.training.phase import Phase
from hvd_imgcls.workflows.training.run import Run

MAX_NAMES = 8
"""Maximum number of examples that are named."""


class NonFiniteExampleFinder:
    """Tests the examples of one step on this rank one by one.

    Not collective. The model runs in inference mode, so that examples do not affect each other
    and no rank waits. If the last layer is divided over the ranks, only the layers before it run.

    Args:
        run: The run.
        phase: The training, with a compiled model and the weights before the step.
    """

    def __init__(self, run: Run, phase: Phase) -> None:
        self._run = run
        self._head = phase.head
        self._model = phase.model if phase.head is None else phase.head.features
        self._allocation = phase.allocation

    def __call__(self, epoch: int, step: int) -> list[str]:
        """Returns one line with the names of the examples.

        Args:
            epoch: 0-based.
            step: Step of the run, 0-based.
        """
        run, plan = self._run, self._run.plan
        step_in_epoch = step - epoch * plan.steps_per_epoch
        rows = rank_rows(
            plan,
            rank=run.rank,
            epoch=epoch,
            start_step=step_in_epoch,
            division=run.source.division,
            allocation=self._allocation,
        )
        examples = np.array(rows.first(plan.gradient_accumulation_steps))
        if exchanged_records(run.source, plan.size) is not None:
            # Its images come from other hosts, which do not take part now.
            return [f"one of {self._names(examples)}"]
        with _finite_statistics(self._model):
            bad = self._bad_ones(epoch, step_in_epoch)
        if bad.any():
            return [f"the loss or the gradient is NaN or infinite for {self._names(examples[bad])}"]
        if self._head is not None:
            return [f"one of {self._names(examples)}"]
        return [f"no single example is the cause: {self._names(examples)}"]

    def _bad_ones(self, epoch: int, step_in_epoch: int) -> np.ndarray:
        """Returns which examples have a NaN or infinite gradient, bool `[examples]`."""
        run, plan = self._run, self._run.plan
        batches = training_dataset(
            run.source,
            run.config,
            plan,
            rank=run.rank,
            start=Start(epoch=epoch, step=step_in_epoch, allocation=self._allocation),
        )
        found = []
        for batch in itertools.islice(batches, plan.gradient_accumulation_steps):
            bad = self._bad_by_outputs(*batch)
            if self._head is None and not bad.any():
                bad = self._bad_by_gradients(*batch)
            found.append(bad)
        return np.concatenate(found)

    def _bad_by_outputs(
        self, images: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
    ) -> np.ndarray:
        outputs = self._model(images, training=False)
        has_weight = weights.numpy() > 0
        return has_weight & ~np.isfinite(np.asarray(outputs, np.float64)).all(axis=-1)

    def _bad_by_gradients(
        self, images: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
    ) -> np.ndarray:
        model = self._model

        @tf.function(autograph=False)
        def is_good(place: tf.Tensor) -> tf.Tensor:
            example = [part[place : place + 1] for part in (images, targets, weights)]
            with tf.GradientTape() as tape:
                logits = model(example[0], training=False)
                loss = model.compute_loss(example[0], example[1], logits, example[2])
            variables = [native_variable(v) for v in model.trainable_variables]
            return all_finite([loss, *tape.gradient(loss, variables)])

        places = range(len(images))
        return np.array([not is_good(tf.constant(place)).numpy() for place in places])

    def _names(self, examples: np.ndarray) -> str:
        names = [
            self._run.source.name_of("train", int(example)) for example in dict.fromkeys(examples)
        ]
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        return ", ".join(names[:MAX_NAMES]) + more


@contextlib.contextmanager
def _finite_statistics(model: keras.Model) -> Iterator[None]:
    """Context manager that replaces moving statistics corrupted by the step with 0 or 1."""
    spoilt = [v for v in model.non_trainable_variables if not _is_finite(v)]
    values = [v.numpy() for v in spoilt]
    try:
        for variable in spoilt:
            is_mean = "mean" in variable.name
            variable.assign(tf.zeros_like(variable) if is_mean else tf.ones_like(variable))
        yield
    finally:
        for variable, value in zip(spoilt, values, strict=True):
            variable.assign(value)


def _is_finite(variable: keras.Variable) -> bool:
    value = variable.numpy()
    return not np.issubdtype(value.dtype, np.floating) or bool(np.isfinite(value).all())
