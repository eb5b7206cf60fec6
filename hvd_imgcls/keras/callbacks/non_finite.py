"""NaN and infinity: all ranks stop with one error, or all skip the step."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed.agreement import name_ranks
from hvd_imgcls.errors import ConfigError, NonFiniteError
from hvd_imgcls.keras.checks.non_finite import NonFiniteGuard
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.synchronization.mode import SynchronizationMode
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of
from hvd_imgcls.plan.position import Position

logger = logging.getLogger(__name__)

# From epoch and step, both 0-based, to lines about the examples of this rank.
NameExamples = Callable[[int, int], Sequence[str]]

MAX_SKIPPED_IN_A_ROW = 100
"""Maximum number of consecutive skipped steps."""

MAX_DETAILED = 10
"""Maximum number of skipped steps described in full, which takes time and space in the log."""

FIX = (
    "inspect the examples (`hvd-imgcls show-data`), lower the learning rate, clip the gradients, "
    "or skip such steps with train.non_finite: skip"
)


class NonFiniteCallback(keras.callbacks.Callback):
    """Reports which ranks had NaN or infinity, and stops or continues on all ranks.

    For `hvd.DistributedOptimizer(..., skip_non_finite=True)`, which skips such updates,
    so that the weights are never corrupted. A skipped step counts as a step: the schedule
    advances. It has no other effect: with `skip`, moving statistics, random states and the
    metrics of the epoch are restored to their values before it. With `stop`, a NaN or infinite
    loss of an epoch also stops training, in case no gradient was affected.

    A normal batch costs one read of a counter, and with `skip` a copy of the model's
    moving statistics and of the metrics. Ranks communicate only if an update was skipped.

    Collective: every rank must have this callback in the same position, after
    `MetricAverageCallback` and before callbacks that save.

    Args:
        action: `stop` or `skip`.
        name_examples: Called on a rank whose own gradient was NaN or infinite, with epoch and
            step of the run, 0-based; returns lines about the examples that caused it. It must
            not communicate.
        max_in_a_row: Number of consecutive skipped steps that stops training.
        position: Position of the training phase, if its batches are counted elsewhere.
    """

    is_collective = True

    def __init__(
        self,
        action: Literal["stop", "skip"] = "stop",
        *,
        name_examples: NameExamples | None = None,
        max_in_a_row: int = MAX_SKIPPED_IN_A_ROW,
        position: Position | None = None,
    ) -> None:
        super().__init__()
        self._action = action
        self._name_examples = name_examples
        self._max_in_a_row = max_in_a_row
        self._guard: NonFiniteGuard | None = None
        self._mode: SynchronizationMode | None = None
        self._counts = position is None
        self._position = position or Position()
        self._epoch = self._epoch_began_at = 0
        self._num_skipped = self._num_in_a_row = self._seen = 0
        self._before: _Copy | None = None

    @property
    def num_skipped(self) -> int:
        """Number of steps skipped since the start of `fit`; the same on all ranks."""
        return self._num_skipped

    def state(self) -> dict[str, Any]:
        """Returns the number of skipped steps, in total and in a row."""
        return {"num_skipped": self._num_skipped, "num_in_a_row": self._num_in_a_row}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`, after model and optimizer are restored."""
        self._num_skipped, self._num_in_a_row = state["num_skipped"], state["num_in_a_row"]
        self._find_guard()
        self._keep(may_be_others=True)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts counting.

        Raises:
            ConfigError: If the optimizer applies all updates.
        """
        self._num_skipped = self._num_in_a_row = 0
        if self._counts:
            self._position = Position(self._position.batches_per_step)
        self._find_guard()

    def _find_guard(self) -> None:
        synchronizer = synchronizer_of(self.model.optimizer)
        if synchronizer is None or synchronizer.guard is None:
            raise ConfigError(
                "NonFiniteCallback",
                got="an optimizer that applies NaN and infinite updates",
                expected="one that skips them",
                fix="compile with hvd.DistributedOptimizer(..., skip_non_finite=True)",
            )
        self._guard = synchronizer.guard
        self._mode = synchronizer.mode
        if self._action == "skip" and self._mode.may_skip:
            raise ConfigError(
                "NonFiniteCallback",
                got="skip, with gradients that are applied a step later",
                expected="stop: the step that should be skipped has changed statistics already",
                fix="use 'stop', or mode=hvd.Allreduce()",
            )
        passes = synchronizer.settings.backward_passes_per_step
        if self._counts and self._position.batches_per_step != passes:
            self._position = Position(passes)
        self._seen = int(self._guard.num_skipped_updates.numpy())

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Copies the state that a skipped step would change."""
        self._epoch, self._epoch_began_at = epoch, self._position.step
        self._find_guard()  # the model may have been recompiled
        self._keep(may_be_others=True)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks whether an update was skipped. Collective if so, on all ranks.

        Raises:
            NonFiniteError: On all ranks, to stop.
        """
        if self._counts:
            self._position.end_batch()
        if self._position.passes:
            return
        held_back = int(self._require_guard().num_skipped_updates.numpy())
        if held_back == self._seen:
            self._num_in_a_row = 0
            self._keep(may_be_others=self._is_first_step)
            return
        self._num_skipped += held_back - self._seen
        self._num_in_a_row += held_back - self._seen
        self._seen = held_back
        delay = 0 if self._mode is None else self._mode.delay(self._position.step)
        self._stop_or_report(self._position.step - delay)
        if self._before is not None:
            self._before.give_back()
            if self._is_first_step:
                self.model.reset_metrics()  # some were created in this very step
                self._keep(may_be_others=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds `skipped_steps` to the logs, with `skip`; checks the loss, with `stop`.

        Raises:
            NonFiniteError: On all ranks, if the loss over all ranks is NaN or infinite.
        """
        if logs is None:
            return
        if self._action == "skip":
            logs["skipped_steps"] = self._num_skipped
            return
        scales = isinstance(self.model.optimizer, keras.optimizers.LossScaleOptimizer)
        # A float16 loss may overflow occasionally while the loss scale adapts.
        if not scales and not math.isfinite(logs.get("loss", 0.0)):
            raise NonFiniteError(
                f"epoch {epoch + 1}: the loss is NaN or infinite, but all gradients are finite\n"
                f"  to fix it: {FIX}"
            )

    def _require_guard(self) -> NonFiniteGuard:
        assert self._guard is not None, "on_train_begin was not called"  # noqa: S101
        return self._guard

    @property
    def _is_first_step(self) -> bool:
        """Whether this is the first step since an epoch started or was resumed.

        Metrics are created in the very first step.
        """
        return self._position.step == self._epoch_began_at + 1

    def _keep(self, *, may_be_others: bool) -> None:
        """Copies what a step changes; determines it again if there may be other variables."""
        if self._action != "skip":
            return
        if self._before is None or may_be_others:
            variables = _trace_of_a_step(self.model)
            if self._before is None or not self._before.is_of(variables):
                self._before = _Copy(variables)
        self._before.take()

    def _stop_or_report(self, step: int) -> None:
        """Collective. `step` counts from 1."""
        does_stop = self._action == "stop" or self._num_in_a_row >= self._max_in_a_row
        if not does_stop and self._num_skipped > MAX_DETAILED:
            logger.warning("epoch %d, step %d: skipped, NaN or infinite", self._epoch + 1, step)
            return
        is_mine = bool(self._require_guard().is_of_this_rank.numpy())
        examples: list[str] = []
        if is_mine and self._name_examples is not None:
            try:
                examples = list(self._name_examples(self._epoch, step - 1))
            # If this rank failed here, the others would wait.
            except Exception as error:
                examples = [f"its examples could not be tested: {error}"]
        found = {"is_mine": is_mine, "examples": examples}
        text = describe_non_finite(
            distributed.current().gather_json(found), epoch=self._epoch + 1, step=step
        )
        if self._action == "stop":
            raise NonFiniteError(f"{text}\n  to fix it: {FIX}")
        if does_stop:
            raise NonFiniteError(
                f"{text}\n{self._num_in_a_row} steps in a row were skipped: training diverges\n"
                f"  to fix it: {FIX.rsplit(', or', 1)[0]}"
            )
        logger.warning("%s; the step is skipped on all ranks", text)


def describe_non_finite(by_rank: Sequence[dict[str, Any]], *, epoch: int, step: int) -> str:
    r"""Describes where a gradient was NaN or infinite.

    Args:
        by_rank: `is_mine` and `examples` of every rank.
        epoch: Counted from 1.
        step: Step of the run, counted from 1.
        step: Step of the run, counted from 1.

    >>> by_rank = [{"is_mine": False}, {"is_mine": True, "examples": ["a.png"]}]
    >>> describe_non_finite(by_rank, epoch=1, step=3)
    'epoch 1, step 3: the gradient of rank 1 is NaN or infinite\n  rank 1: a.png'
    """
    ranks = [rank for rank, found in enumerate(by_rank) if found["is_mine"]]
    where = f"epoch {epoch}, step {step}"
    if not ranks:
        return f"{where}: the gradients of all ranks are finite, but their sum is not"
    lines = [f"  rank {rank}: {line}" for rank in ranks for line in by_rank[rank]["examples"]]
    text = f"{where}: the gradient of {name_ranks(ranks)} is NaN or infinite"
    return "\n".join([text, *lines])


class _Copy:
    """The values of some variables at one moment."""

    def __init__(self, variables: list[tf.Variable]) -> None:
        self._variables = variables
        self._values = [tf.Variable(v, trainable=False) for v in variables]

        # Compiled functions, because as many single operations would take as long as a step.
        @tf.function(autograph=False)
        def take() -> None:
            for value, variable in zip(self._values, self._variables, strict=True):
                value.assign(variable)

        @tf.function(autograph=False)
        def give_back() -> None:
            for value, variable in zip(self._values, self._variables, strict=True):
                variable.assign(value)

        self.take, self.give_back = take, give_back

    def is_of(self, variables: list[tf.Variable]) -> bool:
        return [id(v) for v in variables] == [id(v) for v in self._variables]


def _trace_of_a_step(model: keras.Model) -> list[tf.Variable]:
    """Returns what a step changes besides weights and optimizer: statistics, seeds, metrics."""
    # Variables that layers created as non-trainable; a frozen kernel was created as trainable.
    made = {id(v) for layer in model._flatten_layers() for v in layer._trainable_variables}
    variables = [v for v in model.variables if id(v) not in made]
    metrics = [v for metric in model.metrics for v in metric.variables]
    return [native_variable(variable) for variable in [*variables, *metrics]]
