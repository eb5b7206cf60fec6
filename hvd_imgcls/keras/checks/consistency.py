"""Verifies at run time that the ranks are synchronised.

Before the first update, the ranks compare versions, settings and variables; at the
first update, the reduced gradient is compared with the mean of the gathered local ones,
on a sample of every tensor; and at regular intervals, the hashes of weights and
optimizer state are compared. A difference stops all ranks with one error. Unequal
weights at the first update only cause a warning: Horovod-style loops broadcast after it.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet
from hvd_imgcls.distributed.agreement import name_ranks, require_same
from hvd_imgcls.errors import RankMismatchError
from hvd_imgcls.failures import process_state
from hvd_imgcls.keras.checks.digest import digest_all, digest_array
from hvd_imgcls.keras.communication.signatures import signature as signature_of
from hvd_imgcls.keras.graph.host_callback import call_python
from hvd_imgcls.keras.graph.variables import native_variable, num_elements, variable_path
from hvd_imgcls.versions import code_version

logger = logging.getLogger(__name__)

SAMPLES_PER_TENSOR = 1024
"""Number of evenly spaced elements of each gradient compared at the first update."""


def _fail(message: str) -> None:
    """Raises on this rank, and stores the error, because a graph cannot pass it on."""
    process_state.graph_error = RankMismatchError(message)
    raise process_state.graph_error


def versions() -> dict[str, str]:
    """Returns the versions that must be equal on all ranks."""
    return {
        "hvd_imgcls": code_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def require_same_start(
    settings: dict[str, Any],
    variables: Sequence[Any],
    process_set: ProcessSet,
    is_local: Callable[[Any], bool],
) -> None:
    """Compares versions, settings and variable signatures across ranks.

    Collective: every rank of the process set must call this.

    Args:
        settings: JSON values.
        variables: Variables in the same order on all ranks. Local ones may have any shape.
        process_set: The participating ranks.
        is_local: Whether a variable is local.

    Raises:
        RankMismatchError: On all ranks, with the differences.
    """
    signatures = {
        f"{index} {variable_path(variable).rsplit('/', 1)[-1]}": "local"
        if is_local(variable)
        else signature_of(variable)
        for index, variable in enumerate(variables)
    }
    require_same(
        distributed.current(),
        {"version": versions(), "optimizer": settings, "variable": signatures},
        fix="start every rank with the same program, configuration and packages",
        process_set=process_set,
    )


def weights_digest(model: keras.Model) -> str:
    """Returns the hash of a model's trainable weights: 16 hexadecimal digits."""
    digests = digest_all(*(variable.numpy() for variable in model.trainable_variables))
    return f"{digest_array(digests) % 2**64:016x}"


FORGOTTEN_BROADCAST = (
    "pass hvd.callbacks.BroadcastGlobalVariablesCallback(0) to fit() as the first callback, "
    "or call hvd.broadcast_variables() before training"
)
OTHER_CAUSES = (
    "change weights only through the wrapped optimizer, and use operations that return the same "
    "bits on all ranks"
)


def require_same_values(
    variables: Sequence[Any],
    updates: Any,
    process_set: ProcessSet,
    fix: str = "",
    *,
    only_warn_at_start: bool = False,
) -> None:
    """Compares the hashes of variables across ranks, eagerly or inside a graph.

    Collective: every rank of the process set must call this.

    Args:
        variables: The same variables on all ranks, in the same order.
        updates: Number of completed updates, a number or scalar tensor, for the message.
        process_set: The participating ranks.
        fix: What the user should do; a default if empty.
        only_warn_at_start: Whether a difference at 0 updates is only a warning, by the first
            rank of the set, instead of an error.

    Raises:
        RankMismatchError: On all ranks. Inside a graph TensorFlow wraps it.
    """
    if not variables or process_set.size() == 1:
        return
    values = [native_variable(variable).read_value() for variable in variables]
    digests = call_python(digest_all, values, tf.int64, [len(values)])
    table = distributed.current().allgather(
        digests[tf.newaxis], name="digests", process_set=process_set
    )
    paths = [variable_path(variable) for variable in variables]
    members = _members(process_set)

    def compare(gathered: tf.Tensor, updates_done: tf.Tensor) -> bool:
        done = int(updates_done)
        message = describe_difference(gathered.numpy(), paths, members)
        if message and only_warn_at_start and not done:
            if distributed.current().topology.rank == members[0]:
                logger.warning(
                    "the ranks start with different values: %s; training stops if they differ "
                    "before the second update: %s",
                    message,
                    FORGOTTEN_BROADCAST,
                )
        elif message:
            help_text = fix or (OTHER_CAUSES if done > 1 else FORGOTTEN_BROADCAST)
            _fail(
                f"the ranks differ after {_count_updates(done)}: {message}\n"
                f"  to fix it: {help_text}"
            )
        return True

    call_python(compare, [table, tf.convert_to_tensor(updates)], tf.bool, [])


def _count_updates(number: int) -> str:
    return "1 update" if number == 1 else f"{number} updates"


def describe_difference(
    table: np.ndarray, paths: Sequence[str], members: Sequence[int]
) -> str | None:
    """Describes which variable differs first, and between which ranks.

    Args:
        table: `[num_members, num_variables]`, int64: the hashes.
        paths: Name of each variable.
        members: Global rank of each row.

    >>> describe_difference(np.array([[1, 2], [1, 3]]), ["a", "b"], [0, 1])
    'variable b (1 of 2 differ): rank 1 differs from rank 0'
    """
    differing = np.flatnonzero((table != table[:1]).any(axis=0))
    if not len(differing):
        return None
    first = int(differing[0])
    others = [members[int(row)] for row in np.flatnonzero(table[:, first] != table[0, first])]
    verb = "differs" if len(others) == 1 else "differ"
    return (
        f"variable {paths[first]} ({len(differing)} of {len(paths)} differ): "
        f"{name_ranks(others)} {verb} from rank {members[0]}"
    )


def check_reduction(
    local: Sequence[tf.Tensor],
    reduced: Sequence[tf.Tensor],
    names: Sequence[str],
    expected: Callable[[np.ndarray], np.ndarray] | None,
    tolerances: tuple[float, float],
    process_set: ProcessSet,
) -> tf.Tensor:
    """Compares reduced gradients with the expected reduction of the gathered local ones.

    Compares up to `SAMPLES_PER_TENSOR` evenly spaced elements of every tensor, and
    that the reduced elements are bit-identical on all ranks. Collective.

    Args:
        local: This rank's dense gradients.
        reduced: The same after the reduction.
        names: Name of each gradient's variable.
        expected: Maps gathered samples `[num_members, num_samples]`, float64, to the
            reduced samples; None if there is no simple formula.
        tolerances: Relative to the mean absolute value over the ranks, and absolute.
        process_set: The participating ranks.

    Returns:
        Whether the check was possible: a scalar, bool. Not if a value was NaN or infinite,
        as happens at the start of float16 training.
    """
    both = call_python(_sample_all, [*local, *reduced], tf.float64, [2, None])
    gathered = distributed.current().allgather(
        both[tf.newaxis], name="gradient_samples", process_set=process_set
    )
    members = _members(process_set)

    def compare(table: tf.Tensor, sizes: tf.Tensor) -> bool:
        pairs = table.numpy()
        if not np.isfinite(pairs).all():
            return False
        problem = find_wrong_reduction(pairs[:, 0], pairs[:, 1], expected, tolerances)
        if problem is not None:
            index, row, text = problem
            lengths = np.minimum(sizes.numpy(), SAMPLES_PER_TENSOR)
            owner = np.repeat(np.arange(len(names)), lengths)[index]
            _fail(
                f"the reduced gradient of {names[owner]} is wrong on rank "
                f"{members[row]}: {text}\n  to fix it: run `hvd-imgcls doctor`; if it passes, "
                "this is a bug in the communication library or in hvd_imgcls: do not trust the run"
            )
        return True

    sizes = tf.stack([num_elements(tensor) for tensor in local])
    return call_python(compare, [gathered, sizes], tf.bool, [])


def find_wrong_reduction(
    local: np.ndarray,
    reduced: np.ndarray,
    expected: Callable[[np.ndarray], np.ndarray] | None,
    tolerances: tuple[float, float],
) -> tuple[int, int, str] | None:
    """Finds the first sample that was reduced incorrectly.

    Args:
        local: `[num_members, num_samples]`, float64.
        reduced: `[num_members, num_samples]`, float64.
        expected: See `check_reduction`.
        tolerances: See `check_reduction`.

    Returns:
        Index of the sample, row of the rank and a description; None if all are correct.
    """
    unequal = np.argwhere(reduced != reduced[:1])
    if len(unequal):
        row, index = unequal[0]
        return int(index), int(row), f"{reduced[row, index]!r} and {reduced[0, index]!r} on rank 0"
    if expected is None:
        return None
    wanted = expected(local)
    relative, absolute = tolerances
    scale = expected(np.abs(local))
    wrong = np.flatnonzero(np.abs(reduced[0] - wanted) > relative * scale + absolute)
    if not len(wrong):
        return None
    index = int(wrong[0])
    return index, 0, f"got {reduced[0, index]!r}, expected {wanted[index]!r} from the local ones"


def _sample_all(*tensors: tf.Tensor) -> np.ndarray:
    """Returns `[2, num_samples]`, float64: samples of the first and of the second half."""
    samples = [_sample(tensor) for tensor in tensors]
    half = len(samples) // 2
    return np.stack([np.concatenate(samples[:half]), np.concatenate(samples[half:])])


def _sample(tensor: tf.Tensor) -> np.ndarray:
    stride = max(1, int(num_elements(tensor)) // SAMPLES_PER_TENSOR)
    sample = tf.reshape(tensor, [-1])[::stride][:SAMPLES_PER_TENSOR]
    return sample.numpy().astype(np.float64)


def _members(process_set: ProcessSet) -> list[int]:
    return list(process_set.ranks or [0])
