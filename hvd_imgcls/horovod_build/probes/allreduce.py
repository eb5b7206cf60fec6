"""Adds known numbers over all ranks, compares the sum exactly and measures the time.

Started by horovodrun on every rank. The root prints one line of JSON. Horovod is imported by
name because in the package only one module may import it, and this script is not part of it.
"""

import importlib
import json
import statistics
import sys
import time

# 4 MB of float32, the size of the gradients of a small convolutional network.
NUM_ELEMENTS = 1 << 20
NUM_TIMED = 5


def main() -> int:
    """Returns 0 when every rank holds the exact sum."""
    np = importlib.import_module("numpy")
    tf = importlib.import_module("tensorflow")
    hvd = importlib.import_module("horovod.tensorflow")
    hvd.init()
    size = hvd.size()
    # Integers far below 2**24, so float32 adds them without rounding in any order.
    base = np.arange(NUM_ELEMENTS, dtype=np.float32) % 1000
    mine = tf.constant(base * (hvd.rank() + 1))
    expected = base * (size * (size + 1) // 2)
    seconds = []
    is_exact = True
    for _ in range(NUM_TIMED):
        start = time.perf_counter()
        total = hvd.allreduce(mine, op=hvd.Sum, name="self_test")
        seconds.append(time.perf_counter() - start)
        is_exact = is_exact and bool((total.numpy() == expected).all())
    from_root = hvd.broadcast(tf.constant([float(hvd.rank() + 7)]), root_rank=0, name="root")
    is_exact = is_exact and float(from_root[0]) == 7.0
    num_wrong = float(
        hvd.allreduce(tf.constant([0.0 if is_exact else 1.0]), op=hvd.Sum, name="n")[0]
    )
    result = {
        "size": size,
        "num_wrong_ranks": int(num_wrong),
        "median_seconds": statistics.median(seconds),
        "bytes": NUM_ELEMENTS * 4,
        "mpi_enabled": bool(hvd.mpi_enabled()),
        "gloo_enabled": bool(hvd.gloo_enabled()),
        "mpi_built": bool(hvd.mpi_built()),
        "gloo_built": bool(hvd.gloo_built()),
        "nccl_built": bool(hvd.nccl_built()),
    }
    if hvd.rank() == 0:
        sys.stdout.write("\nself-test " + json.dumps(result) + "\n")
        sys.stdout.flush()
    hvd.shutdown()
    return 0 if num_wrong == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
