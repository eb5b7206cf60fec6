"""Horovod for Keras 3: a drop-in replacement for `horovod.tensorflow.keras`.

import hvd_imgcls.keras as hvd

hvd.init()
optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.1 * hvd.size()))
model.compile(optimizer=optimizer, ...)
model.fit(..., callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0),
                          hvd.callbacks.MetricAverageCallback()])
"""

from hvd_imgcls.distributed import ProcessSet, global_process_set
from hvd_imgcls.keras import callbacks
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
from hvd_imgcls.keras.communication.objects import (
    allgather_object,
    broadcast_object,
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
from hvd_imgcls.keras.layers.acceleration import accelerate
from hvd_imgcls.keras.layers.moving_statistics import average_moving_statistics, recalibrate
from hvd_imgcls.keras.layers.sync_batch_normalization import (
    SyncBatchNormalization,
    synchronize_batch_normalization,
)
from hvd_imgcls.keras.optimizer.distributed_optimizer import (
    DistributedOptimizer,
    PartialDistributedOptimizer,
)
from hvd_imgcls.keras.optimizer.gradient_tape import DistributedGradientTape
from hvd_imgcls.keras.saving import load_model

__all__ = [
    "Adasum",
    "Average",
    "Compression",
    "DistributedGradientTape",
    "DistributedOptimizer",
    "Max",
    "Min",
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
    "broadcast_object",
    "broadcast_variables",
    "callbacks",
    "ccl_built",
    "cross_rank",
    "cross_size",
    "cuda_built",
    "ddl_built",
    "global_process_set",
    "gloo_built",
    "gloo_enabled",
    "grouped_allreduce",
    "init",
    "is_homogeneous",
    "is_initialized",
    "load_model",
    "local_rank",
    "local_size",
    "mpi_built",
    "mpi_enabled",
    "mpi_threads_supported",
    "nccl_built",
    "rank",
    "recalibrate",
    "reducescatter",
    "remove_process_set",
    "rocm_built",
    "shutdown",
    "size",
    "start_timeline",
    "stop_timeline",
    "synchronize_batch_normalization",
]
