"""A Keras optimizer whose gradients are averaged over the ranks.

The wrapped optimizer is an instance of a generated class, which inherits from the
class of the given optimizer and overrides only `apply`; both share one
state. Every code path to an update is thus covered, every attribute is where Keras
and other code expect it, and nothing needs to be forwarded. `__class__` is
the original class, so a plain Keras optimizer is saved.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import keras

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, ReduceOp, global_process_set
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.communication.operations import Average
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.optimizer import hooks
from hvd_imgcls.keras.optimizer.gradients import variables_of_local_layers
from hvd_imgcls.keras.optimizer.synchronized_apply import ShardedApply, SynchronizedApply
from hvd_imgcls.keras.sharding.elementwise import require_elementwise
from hvd_imgcls.keras.synchronization.mode_settings import Allreduce, ModeSettings
from hvd_imgcls.keras.synchronization.settings import ReductionSettings, SynchronizerSettings
from hvd_imgcls.keras.synchronization.sharded import Sharded
from hvd_imgcls.keras.synchronization.synchronizer import Synchronizer, synchronizer_of
from hvd_imgcls.optimizers.extending import put_in_front

DEFAULT_CHECK_EVERY_STEPS = 100

# `name` to `op`: what all of Horovod's optimizers take in this order after the optimizer.
_SAME_POSITIONS = 7


def DistributedOptimizer(  # noqa: N802 - Horovod's name and arguments
    optimizer: keras.optimizers.Optimizer,
    name: str | None = None,
    device_dense: str = "",
    device_sparse: str = "",
    compression: Any = Compression.none,
    sparse_as_dense: bool = False,
    gradient_predivide_factor: float = 1.0,
    op: ReduceOp = Average,
    backward_passes_per_step: int = 1,
    average_aggregated_gradients: bool = False,
    num_groups: int = 0,
    groups: int | Sequence[Sequence[Any]] | str | None = None,
    process_set: ProcessSet = global_process_set,
    scale_local_gradients: bool = True,
    check_every_steps: int = DEFAULT_CHECK_EVERY_STEPS,
    skip_non_finite: bool = False,
    mode: ModeSettings | None = None,
    shard_optimizer_state: bool = False,
) -> keras.optimizers.Optimizer:
    """Wraps a Keras optimizer so that all ranks make the same updates.

    Gradients are reduced before loss scaling, clipping, weight decay and moving
    averages. Before the first update, the ranks compare versions, settings,
    variables and weights; the first reduction is compared with the gathered gradients;
    and weights and optimizer state are compared by hash at regular intervals. Weights that
    differ before the first update only cause a warning, so that a custom loop may broadcast
    after it as in Horovod's examples; before a later update they are an error. A model
    saved with this optimizer is a plain Keras model.

    With one rank it behaves like the given optimizer, which stays usable and
    shares the state of the wrapped one.

    Args:
        optimizer: Any `keras.optimizers.Optimizer`.
        name: Accepted for compatibility with Horovod; the optimizer keeps its name.
        device_dense: Accepted for compatibility with Horovod; TensorFlow places operations.
        device_sparse: Accepted for compatibility with Horovod.
        compression: Compression of gradients: `Compression.none`, `Compression.fp16` or a class
            with the same two functions; with error feedback, `Compression.bf16()`,
            `Compression.int8()`, `Compression.top_k()` or `Compression.power_sgd()`; with
            `Compression.auto()`, what the first updates show to be the fastest of some, or none.
        sparse_as_dense: Whether `tf.IndexedSlices` are converted to dense tensors first.
        gradient_predivide_factor: Gradients are divided by it before the sum and
            multiplied by it after; only with `op=Average`.
        op: Average, Sum or Adasum (the latter for 2, 4, 8, ... ranks).
        backward_passes_per_step: Gradients accumulated before each reduction and update.
            `optimizer.iterations` counts updates, and so do schedules.
        average_aggregated_gradients: Whether to apply the mean of accumulated gradients, like
            one large batch, instead of their sum.
        num_groups: Deprecated name of `groups`.
        groups: Number of groups of about equal size in which gradients are sent, the last layers
            first, while others are still computed; "auto" for the number with the shortest steps;
            or lists of variables that are sent together. Groups of 32 MiB by default.
        process_set: The participating ranks.
        scale_local_gradients: Whether gradients of local variables are divided by the
            number of ranks. See `PartialDistributedOptimizer`.
        check_every_steps: Updates between two comparisons of the hashes; 0 for none
            after the first two updates.
        skip_non_finite: Whether to skip updates with NaN or infinite reduced gradients
            on all ranks, except for `iterations`; by default they are applied, as in Keras.
            Pass `hvd.callbacks.NonFiniteCallback` to `fit` to report them or stop.
        mode: How the ranks are kept in step: `hvd.Allreduce()` (default), `hvd.Delayed()` or
            `hvd.LocalSGD()`.
        shard_optimizer_state: Whether every rank keeps the optimizer's state for its part of the
            weights only, updates that and sends it to the others: less memory, and as many bytes.
            For optimizers that treat all values of a variable alike. A file that `model.save`
            writes has no state of the optimizer: use `hvd.callbacks.Checkpoint`.

    Raises:
        ConfigError: If an argument is out of range or the optimizer is already wrapped.
        SetupError: If `init` was not called.
    """
    del name, device_dense, device_sparse
    distributed.current()  # raises here and not at the first step if init() was not called
    _require_wrappable(optimizer)
    _require_order_of_arguments(average_aggregated_gradients)
    _require_least("backward_passes_per_step", backward_passes_per_step, 1)
    _require_least("check_every_steps", check_every_steps, 0)
    if num_groups and groups is None:
        warnings.warn("`num_groups` is now called `groups`", DeprecationWarning, stacklevel=2)
        groups = num_groups
    if skip_non_finite:
        _require_guardable(optimizer, process_set)
    settings = ReductionSettings(
        compression=compression,
        sparse_as_dense=sparse_as_dense,
        gradient_predivide_factor=gradient_predivide_factor,
        op=ReduceOp(op),
        groups=groups,
        process_set=process_set,
        scale_local_gradients=scale_local_gradients,
        mode=mode or Allreduce(),
        shard_optimizer_state=shard_optimizer_state,
    )
    if shard_optimizer_state:
        require_elementwise(optimizer)
    _require_constant_loss_scale(optimizer, settings)
    hooks.install()
    synchronizer = Synchronizer(
        SynchronizerSettings(
            reduction=settings,
            backward_passes_per_step=backward_passes_per_step,
            average_aggregated_gradients=average_aggregated_gradients,
            check_every_steps=check_every_steps,
            skip_non_finite=skip_non_finite,
        )
    )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        # The loss scaling must stay outside: see hooks.py.
        return _with_inner(optimizer, wrap(optimizer.inner_optimizer, synchronizer))
    return wrap(optimizer, synchronizer)


def _require_least(argument: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(argument, got=value, expected=f"at least {least}", fix="change it")


def _require_wrappable(optimizer: Any) -> None:
    """Raises a ConfigError unless this is a Keras optimizer that is not yet wrapped."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ConfigError(
            "optimizer",
            got=optimizer,
            expected="a keras.optimizers.Optimizer",
            fix="e.g. hvd.DistributedOptimizer(keras.optimizers.SGD(0.1))",
        )
    if synchronizer_of(optimizer) is not None:
        raise ConfigError(
            "optimizer",
            got=optimizer,
            expected="an optimizer that is not wrapped yet",
            fix="wrap it once",
        )


def _require_constant_loss_scale(optimizer: Any, settings: ReductionSettings) -> None:
    """Raises a ConfigError if gradients of steps with different loss scales would be added."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return
    if settings.is_lossy or settings.mode.name != "allreduce":
        raise ConfigError(
            "optimizer",
            got=optimizer,
            expected="an optimizer without loss scaling: what is added to later gradients would "
            "have another scale",
            fix="train with mixed_bfloat16 instead of mixed_float16, or with mode=hvd.Allreduce() "
            "and without lossy compression",
        )


def _require_order_of_arguments(average_aggregated_gradients: Any) -> None:
    """Raises a ConfigError if the positional arguments are those of `horovod.keras`."""
    if not isinstance(average_aggregated_gradients, bool):
        raise ConfigError(
            "average_aggregated_gradients",
            got=average_aggregated_gradients,
            expected="True or False",
            fix="pass num_groups and groups by name: after `op`, the positional arguments are "
            "those of horovod.tensorflow.keras, not of horovod.keras",
        )


def _require_guardable(optimizer: Any, process_set: ProcessSet) -> None:
    """Raises a ConfigError if the ranks could skip different updates."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if process_set is not global_process_set:
        got, fix = "a process set", "omit it, or train on all ranks"
    elif inner.gradient_accumulation_steps:
        got = "an optimizer that accumulates gradients itself"
        fix = "use backward_passes_per_step instead of gradient_accumulation_steps"
    else:
        return
    raise ConfigError("skip_non_finite", got=got, expected="updates of all ranks", fix=fix)


def PartialDistributedOptimizer(  # noqa: N802 - Horovod's name
    optimizer: keras.optimizers.Optimizer,
    *arguments: Any,
    local_layers: keras.layers.Layer | Sequence[keras.layers.Layer] | None = None,
    **keywords: Any,
) -> keras.optimizers.Optimizer:
    """Like `DistributedOptimizer`, but gradients of some layers are local to each rank.

    Their variables are never sent: the broadcast callback leaves them as they are, too.

    Args:
        optimizer: Any `keras.optimizers.Optimizer`.
        *arguments: As for `DistributedOptimizer`, up to `op`.
        local_layers: Built layers whose variables differ between ranks.
        **keywords: As for `DistributedOptimizer`. With `scale_local_gradients`, the
            default, local gradients are divided by the number of ranks, like
            averaged ones.

    Raises:
        ConfigError: If `local_layers` contains anything but built layers, or if more arguments
            are given by position.
    """
    if len(arguments) > _SAME_POSITIONS:
        raise ConfigError(
            "PartialDistributedOptimizer",
            got=f"{1 + len(arguments)} arguments by position",
            expected=f"at most {1 + _SAME_POSITIONS}: versions of Horovod order the others in "
            "different ways",
            fix="pass those after `op` by name: groups, process_set, local_layers, ...",
        )
    wrapped = DistributedOptimizer(optimizer, *arguments, **keywords)
    for variable in variables_of_local_layers(local_layers):
        register_local_variable(wrapped, variable)
    return wrapped


def register_local_variable(optimizer: keras.optimizers.Optimizer, variable: Any) -> None:
    """Declares a local variable, whose gradient is not reduced, before the first update."""
    synchronizer = synchronizer_of(optimizer)
    if synchronizer is None:
        raise ConfigError(
            "optimizer",
            got=optimizer,
            expected="one that DistributedOptimizer returned",
            fix="wrap it first",
        )
    synchronizer.reduction.local_variables.add(id(native_variable(variable)))


def register_part_variables(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[Any]
) -> None:
    """Declares local variables that are parts of a variable of all ranks, before the first update.

    Unlike those of other local variables, NaN and infinity in their gradients skip an update.
    """
    for variable in variables:
        register_local_variable(optimizer, variable)
    synchronizer = synchronizer_of(optimizer)
    assert synchronizer is not None  # noqa: S101
    synchronizer.reduction.part_variables.update(id(native_variable(v)) for v in variables)


def wrap(optimizer: keras.optimizers.Optimizer, synchronizer: Synchronizer) -> Any:
    """Returns an optimizer whose updates go through a synchronizer; both share one state.

    Args:
        optimizer: Any Keras optimizer that does not scale the loss.
        synchronizer: A new one; copies of the optimizer get their own.
    """
    return put_in_front(
        optimizer,
        ShardedApply if isinstance(synchronizer.mode, Sharded) else SynchronizedApply,
        lambda plain: wrap(plain, synchronizer.another()),
        _synchronizer=synchronizer,
    )


def _with_inner(optimizer: Any, inner: Any) -> Any:
    """Returns a loss-scale optimizer with the same state around another inner optimizer."""
    copy = object.__new__(type(optimizer))
    object.__setattr__(copy, "__dict__", {**optimizer.__dict__, "inner_optimizer": inner})
    return copy
