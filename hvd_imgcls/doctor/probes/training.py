"""Allreduce and training steps on every rank, on the GPU or the CPU of the argument.

Started by horovodrun. The root prints one line of JSON. The package is loaded by name because
this script lies below the layers that it tests.
"""

import hashlib
import importlib
import json
import math
import statistics
import sys
import time
from typing import Any

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
NUM_ELEMENTS = 1 << 22
NUM_TIMED = 5
NUM_STEPS = 8
BATCH_SIZE = 32


def allreduce(tf: Any, hvd: Any, device: str) -> tuple[float, bool]:
    """Returns the median time, and whether every sum was exact."""
    with tf.device(f"/{device}:0"):
        base = tf.cast(tf.range(NUM_ELEMENTS) % 1000, tf.float32)
        mine = base * float(hvd.rank() + 1)
        expected = base * float(hvd.size() * (hvd.size() + 1) // 2)
        seconds, is_exact = [], True
        for index in range(NUM_TIMED):
            start = time.perf_counter()
            total = hvd.allreduce(mine, op=hvd.Sum, name=f"gpu_test_{index}")
            is_exact = bool(tf.reduce_all(total == expected)) and is_exact
            seconds.append(time.perf_counter() - start)
            if device not in total.device:
                raise SystemExit(f"the sum is on {total.device}, not on a {device}")
    return statistics.median(seconds), is_exact


def training(keras: Any, np: Any, hvd: Any, policy: str) -> dict[str, Any]:
    """Trains a small network; returns the loss and the mean time of a step after the first."""
    keras.mixed_precision.set_global_policy(policy)
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, dtype="float32", activation="softmax"),
        ]
    )
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.05))
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
    generator = np.random.default_rng(hvd.rank())
    images = generator.random((BATCH_SIZE * NUM_STEPS, 32, 32, 3), dtype=np.float32)
    labels = generator.integers(0, 10, len(images))
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
    options = {"batch_size": BATCH_SIZE, "verbose": 0, "shuffle": False}
    model.fit(images[:BATCH_SIZE], labels[:BATCH_SIZE], callbacks=callbacks, **options)
    start = time.perf_counter()
    history = model.fit(images, labels, callbacks=callbacks, **options)
    seconds = (time.perf_counter() - start) / NUM_STEPS
    digest = hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights()))
    everywhere = hvd.allgather_object(digest.hexdigest())
    return {
        "loss": history.history["loss"][-1],
        "seconds": seconds,
        "weights_are_equal": len(set(everywhere)) == 1,
    }


def main() -> int:
    """Returns 0 when all sums are exact, all losses finite and all weights equal."""
    device = sys.argv[1]
    np = importlib.import_module("numpy")
    tf = importlib.import_module("tensorflow")
    keras = importlib.import_module("keras")
    hvd = importlib.import_module("hvd_imgcls.keras")
    hvd.init()
    gpus = tf.config.list_physical_devices("GPU")
    if device == "GPU":
        tf.config.set_visible_devices(gpus[hvd.local_rank()], "GPU")
        tf.config.experimental.set_memory_growth(gpus[hvd.local_rank()], True)
    seconds, is_exact = allreduce(tf, hvd, device)
    steps = {policy: training(keras, np, hvd, policy) for policy in POLICIES}
    are_exact = hvd.allgather_object(is_exact)
    is_good = all(are_exact) and all(
        math.isfinite(step["loss"]) and step["weights_are_equal"] for step in steps.values()
    )
    report = {
        "size": hvd.size(),
        "device": device,
        "nccl_built": bool(hvd.nccl_built()),
        "bytes": NUM_ELEMENTS * 4,
        "allreduce_seconds": seconds,
        "num_wrong_sums": are_exact.count(False),
        "steps": steps,
    }
    if hvd.rank() == 0:
        sys.stdout.write("\nself-test " + json.dumps(report) + "\n")
        sys.stdout.flush()
    hvd.shutdown()
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
