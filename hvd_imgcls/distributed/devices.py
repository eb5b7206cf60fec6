"""Threads and GPUs of this rank. Must be configured before TensorFlow's first operation."""

from __future__ import annotations

import logging

import tensorflow as tf

from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.plan import Threads, available_cores, share_cores

logger = logging.getLogger(__name__)


def take_share(topology: Topology) -> Threads:
    """Assigns this rank its share of the host's cores, and a GPU; returns its thread counts.

    Args:
        topology: This rank.
    """
    threads = share_cores(available_cores(), topology.local_size)
    configure(
        intra_op_threads=threads.intra_op,
        inter_op_threads=threads.inter_op,
        local_rank=topology.local_rank,
    )
    return threads


def configure(*, intra_op_threads: int, inter_op_threads: int, local_rank: int) -> None:
    """Configures threads and GPU of this rank.

    Otherwise, several ranks on a host would start one thread per core each, and
    compete (horovod#2295, #2804). With GPUs, local rank r sees only GPU r, and
    memory grows on demand instead of being allocated at once. (Untested on several GPUs.) If the
    process has already used TensorFlow, nothing is changed.

    Args:
        intra_op_threads: Threads within one operation, at least 1.
        inter_op_threads: Operations that run in parallel, at least 1.
        local_rank: Index of this rank on its host.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
        tf.config.threading.set_inter_op_parallelism_threads(inter_op_threads)
        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            mine = gpus[local_rank % len(gpus)]
            tf.config.set_visible_devices(mine, "GPU")
            tf.config.experimental.set_memory_growth(mine, True)
    except RuntimeError as error:
        # TensorFlow's message: "cannot be modified after initialization".
        logger.info("note: threads and GPUs are unchanged, TensorFlow is already in use: %s", error)
