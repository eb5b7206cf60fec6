"""Horovod for Keras 3: a drop-in replacement for `horovod.tensorflow.keras`.

import hvd_imgcls.keras as hvd

hvd.init()
optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.1 * hvd.size()))
model.compile(optimizer=optimizer, ...)
model.fit(..., callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0),
                          hvd.callbacks.MetricAverageCallback()])
"""

from typing import Any

import hvd_imgcls.keras.quiet_start  # noqa: F401 - before TensorFlow is imported

# isort: split
from hvd_imgcls.distributed import ProcessSet, global_process_set
from hvd_imgcls.keras import callbacks, elastic
from hvd_imgcls.keras.communication.alltoall import alltoall
from hvd_imgcls.keras.communication.basics import (
    add_process_set,
    ccl_built,
    cross_rank,
    cross_size,
    cuda_built,
    ddl_built,
    gloo_built,
    gloo_enabled,
    init,
    is_homogeneous,
    is_initialized,
    local_rank,
    local_size,
    mpi_built,
    mpi_enabled,
    mpi_threads_supported,
    nccl_built,
    rank,
    remove_process_set,
    rocm_built,
    shutdown,
    size,
    start_timeline,
    stop_timeline,
)
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.communication.more_operations import (
    broadcast_,
    broadcast_global_variables,
    grouped_allgather,
    grouped_reducescatter,
    local_rank_op,
    local_size_op,
    rank_op,
    size_op,
)
from hvd_imgcls.keras.communication.objects import (
    allgather_object,
    broadcast_object,
    broadcast_object_fn,
    broadcast_variables,
)
from hvd_imgcls.keras.communication.operations import (
    Adasum,
    Average,
    Max,
    Min,
    Product,
    Sum,
    allgather,
    allreduce,
    barrier,
    broadcast,
    grouped_allreduce,
    reducescatter,
)
from hvd_imgcls.keras.dividing_classes import ClassShardedModel, shard_classes
from hvd_imgcls.keras.layers.acceleration import accelerate
from hvd_imgcls.keras.layers.moving_statistics import average_moving_statistics
from hvd_imgcls.keras.layers.sync_batch_normalization import (
    SyncBatchNormalization,
    synchronize_batch_normalization,
)
from hvd_imgcls.keras.optimizer.distributed_optimizer import (
    DistributedOptimizer,
    PartialDistributedOptimizer,
)
from hvd_imgcls.keras.optimizer.gradient_tape import (
    DistributedGradientTape,
    PartialDistributedGradientTape,
)
from hvd_imgcls.keras.recalibration import recalibrate
from hvd_imgcls.keras.saving import load_model
from hvd_imgcls.keras.synchronization.mode_settings import Allreduce, Delayed, LocalSGD

__all__ = [
    "Adasum",
    "Allreduce",
    "Average",
    "ClassShardedModel",
    "Compression",
    "Delayed",
    "DistributedGradientTape",
    "DistributedOptimizer",
    "LocalSGD",
    "Max",
    "Min",
    "PartialDistributedGradientTape",
    "PartialDistributedOptimizer",
    "ProcessSet",
    "Product",
    "Sum",
    "SyncBatchNormalization",
    "accelerate",
    "add_process_set",
    "allgather",
    "allgather_object",
    "allreduce",
    "alltoall",
    "average_moving_statistics",
    "barrier",
    "broadcast",
    "broadcast_",
    "broadcast_global_variables",
    "broadcast_object",
    "broadcast_object_fn",
    "broadcast_variables",
    "callbacks",
    "ccl_built",
    "cross_rank",
    "cross_size",
    "cuda_built",
    "ddl_built",
    "elastic",
    "global_process_set",
    "gloo_built",
    "gloo_enabled",
    "grouped_allgather",
    "grouped_allreduce",
    "grouped_reducescatter",
    "init",
    "is_homogeneous",
    "is_initialized",
    "load_model",
    "local_rank",
    "local_rank_op",
    "local_size",
    "local_size_op",
    "mpi_built",
    "mpi_enabled",
    "mpi_threads_supported",
    "nccl_built",
    "rank",
    "rank_op",
    "recalibrate",
    "reducescatter",
    "remove_process_set",
    "rocm_built",
    "shard_classes",
    "shutdown",
    "size",
    "size_op",
    "start_timeline",
    "stop_timeline",
    "synchronize_batch_normalization",
]

# Names of Horovod that have no counterpart here, and what to use instead.
_INSTEAD = {
    "join": "use the same number of batches on every rank, e.g. with steps_per_epoch",
    "BroadcastGlobalVariablesHook": "use hvd.callbacks.BroadcastGlobalVariablesCallback",
    "DistributedAdasumOptimizer": "use hvd.DistributedOptimizer(optimizer, op=hvd.Adasum)",
    "process_set_included_op": "use process_set.included()",
    "mpi_ops": "its operations are here: hvd.allreduce, hvd.allgather, ...",
    "allreduce_": "use variable.assign(hvd.allreduce(variable))",
    "gpu_available": "use tf.config.list_physical_devices('GPU')",
    "check_extension": "run `hvd-imgcls doctor`",
}


def __getattr__(name: str) -> Any:
    """Says what to use instead of a name of Horovod that does not exist here."""
    if name in _INSTEAD:
        raise AttributeError(f"hvd_imgcls.keras has no {name}: {_INSTEAD[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
