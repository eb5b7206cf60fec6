"""A gradient tape whose gradients are reduced over the ranks, for custom training loops."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.distributed import ProcessSet, ReduceOp, global_process_set
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.checks import consistency
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.communication.operations import Average
from hvd_imgcls.keras.graph.autograph import without_autograph
from hvd_imgcls.keras.graph.host_callback import run_if
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.optimizer.gradients import variables_of_local_layers
from hvd_imgcls.keras.synchronization.choice import make_mode
from hvd_imgcls.keras.synchronization.reduction import GradientReduction
from hvd_imgcls.keras.synchronization.settings import ReductionSettings


class DistributedGradientTape:
    """Wraps a `tf.GradientTape`; `gradient()` returns the reduced gradients.

    Use it with an optimizer that is *not* wrapped. Before the first gradient, the ranks
    compare versions and variables. The values of the variables are compared from the
    second gradient on, every `check_every_steps` gradients: Horovod-style scripts
    broadcast them after the first update.

    Args:
        gradtape: The tape.
        device_dense: Accepted for compatibility with Horovod.
        device_sparse: Accepted for compatibility with Horovod.
        compression: As for `DistributedOptimizer`.
        sparse_as_dense: As for `DistributedOptimizer`.
        op: As for `DistributedOptimizer`.
        gradient_predivide_factor: As for `DistributedOptimizer`.
        num_groups: Deprecated name of `groups`.
        groups: As for `DistributedOptimizer`.
        process_set: As for `DistributedOptimizer`.
        scale_local_gradients: As for `DistributedOptimizer`.
        check_every_steps: Gradients between two comparisons of the variables' hashes;
            0 for never.

    Raises:
        ConfigError: If an argument is out of range or the tape is already wrapped.
    """

    def __init__(
        self,
        gradtape: tf.GradientTape,
        device_dense: str = "",
        device_sparse: str = "",
        compression: Any = Compression.none,
        sparse_as_dense: bool = False,
        op: ReduceOp = Average,
        gradient_predivide_factor: float = 1.0,
        num_groups: int = 0,
        groups: int | Sequence[Sequence[Any]] | None = None,
        process_set: ProcessSet = global_process_set,
        scale_local_gradients: bool = True,
        check_every_steps: int = 100,
    ) -> None:
        if isinstance(gradtape, DistributedGradientTape):
            raise ConfigError(
                "gradtape", got=gradtape, expected="a tf.GradientTape", fix="wrap it once"
            )
        self._tape = gradtape
        self._settings = ReductionSettings(
            compression=compression,
            sparse_as_dense=sparse_as_dense,
            gradient_predivide_factor=gradient_predivide_factor,
            op=ReduceOp(op),
            groups=groups or num_groups or None,
            process_set=process_set,
            scale_local_gradients=scale_local_gradients,
        )
        self._local_sources: list[Any] = []
        self._check_every_steps = check_every_steps

    def register_local_source(self, source: Any) -> None:
        """Declares a local variable, whose gradient is not reduced."""
        self._local_sources.append(source)

    @without_autograph
    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        use_generic_names: bool = False,
    ) -> Any:
        """Returns the reduced gradients, in the structure of `sources`.

        Collective: every rank of the process set must call this.

        Args:
            target: What to differentiate.
            sources: Variables, in any nesting.
            output_gradients: As for `tf.GradientTape.gradient`.
            use_generic_names: Accepted for compatibility with Horovod: names are always generic.
        """
        local = self._tape.gradient(target, sources, output_gradients)
        flat_sources = tf.nest.flatten(sources)
        local_ids = self._local_ids()
        tape_state = _tapes.of(self._settings, flat_sources, local_ids)
        reduction, steps = tape_state.reduction, tape_state.steps
        reduction.local_variables.update(local_ids)
        compared = []
        if self._check_every_steps and reduction.size > 1:
            compared.append(self._compare_values(reduction, steps, flat_sources))
        with tf.control_dependencies(compared):  # see Synchronizer
            reduced = reduction.reduce(_flatten_gradients(local), flat_sources)
        return tf.nest.pack_sequence_as(sources, reduced)

    def get_local_and_global_gradients(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        use_generic_names: bool = False,
    ) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
        """Returns pairs of sources and gradients: those of local sources, and the reduced ones.

        Collective: every rank of the process set must call this. Arguments as for `gradient`.
        """
        gradients = self.gradient(target, sources, output_gradients, use_generic_names)
        pairs = zip(tf.nest.flatten(sources), _flatten_gradients(gradients), strict=True)
        local_ids = self._local_ids()
        parts: tuple[list[Any], list[Any]] = ([], [])
        for source, gradient in pairs:
            is_local = id(native_variable(source)) in local_ids
            parts[0 if is_local else 1].append((source, gradient))
        return parts

    def _local_ids(self) -> set[int]:
        return {id(native_variable(source)) for source in self._local_sources}

    def _compare_values(
        self, reduction: GradientReduction, steps: tf.Variable, sources: list[Any]
    ) -> tf.Tensor:
        # A tape may also watch tensors; only variables have values to compare.
        shared = [s for s in sources if _is_variable(s) and not reduction.is_local(s)]

        def compare() -> None:
            consistency.require_same_values(
                shared,
                done,
                self._settings.process_set,
                fix="call hvd.broadcast_variables(model.variables, root_rank=0) and "
                "hvd.broadcast_variables(optimizer.variables, root_rank=0) once, at the first "
                "step, and apply the reduced gradients on every rank",
            )

        done = steps.read_value()
        # With 1, always except the first time: x % 1 is never 1.
        due = (done % self._check_every_steps == 1 % self._check_every_steps) & (done > 0)
        compared = run_if(due, compare)
        steps.assign_add(1)
        return compared

    def __enter__(self) -> DistributedGradientTape:
        self._tape.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._tape.__exit__(*exception)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tape, name)


# Horovod has `local_layers` between `process_set` and `scale_local_gradients`.
_BEFORE_LOCAL_LAYERS = 9


def PartialDistributedGradientTape(  # noqa: N802 - Horovod's name
    gradtape: tf.GradientTape,
    *arguments: Any,
    local_layers: keras.layers.Layer | Sequence[keras.layers.Layer] | None = None,
    **keywords: Any,
) -> DistributedGradientTape:
    """Like `DistributedGradientTape`, but gradients of some layers are local to each rank.

    Args:
        gradtape: The tape.
        *arguments: As for `DistributedGradientTape`, up to `process_set`; then, as in Horovod,
            `local_layers` and `scale_local_gradients`.
        local_layers: Built layers whose variables differ between ranks.
        **keywords: As for `DistributedGradientTape`.

    Raises:
        ConfigError: If `local_layers` contains anything but built layers.
        TypeError: If an argument is given twice, or if there are too many.
    """
    shared, rest = arguments[:_BEFORE_LOCAL_LAYERS], arguments[_BEFORE_LOCAL_LAYERS:]
    if local_layers is not None:
        keywords["local_layers"] = local_layers
    layers, keywords = _after_process_set(*rest, **keywords)
    tape = DistributedGradientTape(gradtape, *shared, **keywords)
    for variable in variables_of_local_layers(layers):
        tape.register_local_source(variable)
    return tape


def _after_process_set(
    local_layers: Any = None, scale_local_gradients: bool = True, **keywords: Any
) -> tuple[Any, dict[str, Any]]:
    """Returns the local layers and the other arguments, once Python has matched them to names."""
    return local_layers, {"scale_local_gradients": scale_local_gradients, **keywords}


@dataclasses.dataclass(frozen=True, slots=True)
class _TapeState:
    """State shared by tapes with the same variables and settings.

    Attributes:
        reduction: Reduces the gradients.
        steps: Number of gradients so far, int64.
        sources: Keeps the variables alive, so that their ids are not reused.
    """

    reduction: GradientReduction
    steps: tf.Variable
    sources: list[Any]


class TapeStates:
    """The state of all tapes of a process: a tape lives for one step, its checks for the run."""

    def __init__(self) -> None:
        self._states: dict[tuple[Any, ...], _TapeState] = {}

    def of(
        self, settings: ReductionSettings, sources: list[Any], local_ids: set[int]
    ) -> _TapeState:
        """Returns the state for these settings and variables.

        Collective at the first call: every rank of the process set must call it.

        Args:
            settings: How gradients are reduced.
            sources: Variables, and watched tensors, which are new in every trace.
            local_ids: Ids of the native variables that are local.
        """
        ids = (id(native_variable(source)) if _is_variable(source) else 0 for source in sources)
        key = (*ids, id(settings.compression), json.dumps(settings.describe()))
        if key not in self._states:
            self._states[key] = self._make(settings, sources, local_ids)
        return self._states[key]

    def _make(
        self, settings: ReductionSettings, sources: list[Any], local_ids: set[int]
    ) -> _TapeState:
        def is_local(source: Any) -> bool:
            return id(native_variable(source)) in local_ids

        mode = make_mode(settings, f"tape_{len(self._states)}")
        with tf.init_scope():
            steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="tape_steps")
            mode.build([s for s in sources if _is_variable(s) and not is_local(s)])
            if mode.size > 1:
                consistency.require_same_start(
                    settings.describe(), sources, settings.process_set, is_local
                )
        return _TapeState(GradientReduction(mode), steps, sources)


_tapes = TapeStates()


def _is_variable(source: Any) -> bool:
    return isinstance(native_variable(source), tf.Variable)


def _flatten_gradients(gradients: Any) -> list[Any]:
    """Flattens a structure of gradients, treating `tf.IndexedSlices` as leaves."""
    return tf.nest.flatten(gradients, expand_composites=False)
