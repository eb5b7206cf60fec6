"""Threads and GPUs of this rank. Must be configured before TensorFlow's first operation."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import tensorflow as tf

from hvd_imgcls.distributed.collectives import Collectives
from hvd_imgcls.environment import affinity
from hvd_imgcls.plan import Threads, available_cores, share_cores, within_quota

logger = logging.getLogger(__name__)


def take_share(collectives: Collectives) -> Threads:
    """Assigns this rank its share of the host's cores, and a GPU; returns its thread counts.

    The size of TensorFlow's thread pools follows from what this rank sees, because it cannot be
    changed once the ranks have communicated.

    Collective: every rank must call this.

    Args:
        collectives: Communication between the ranks.
    """
    topology = collectives.topology
    threads = share_cores(available_cores(topology.local_size), topology.local_size)
    configure(
        intra_op_threads=threads.intra_op,
        inter_op_threads=threads.inter_op,
        local_rank=topology.local_rank,
    )
    return threads if topology.size == 1 else _compare_cores(collectives, threads)


def _compare_cores(collectives: Collectives, seen: Threads) -> Threads:
    """Returns the thread counts according to the cores of all ranks on this host. Collective.

    Args:
        collectives: Communication between the ranks.
        seen: The thread counts according to this rank's cores.
    """
    topology = collectives.topology
    by_rank = collectives.gather_json({"host": _host(), "cores": sorted(affinity.own_cores())})
    here = [rank for rank, one in enumerate(by_rank) if one["host"] == _host()]
    bound = affinity.shares_of_bound([frozenset(by_rank[rank]["cores"]) for rank in here])
    if bound is None:
        # They share the same cores, whatever it looked like to this rank.
        num_cores = within_quota(len(affinity.own_cores()))
        return share_cores(num_cores, topology.local_size)
    num_cores, own = within_quota(bound[0]), bound[1][here.index(topology.rank)]
    if num_cores < bound[0]:
        own = min(own, max(1, num_cores // len(here)))
    if own != seen.intra_op:
        logger.info("note: TensorFlow uses %d threads on %d cores", seen.intra_op, own)
    return share_cores(num_cores, topology.local_size, own)


def _host() -> str:
    """Returns a name that differs between machines, and between containers on one of them."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ''}"


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
