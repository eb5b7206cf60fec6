"""Time from launch to the end of the first step, by phase. Run by `step.py`.

    python -m hvd_imgcls.bench.steps.startup_arms plain|ours RESULT.json

Marks are in seconds since the epoch, so that they can be related to the launch.
"""

import json
import sys
import time

marks = {"python started": time.time()}


def mark(name: str) -> None:
    """Records the time of an event."""
    marks[name] = time.time()


def main(arm: str, result_path: str) -> None:
    """Builds the benchmark's model, takes one step and writes the times of all events."""
    import keras

    from hvd_imgcls.bench.steps import workload

    mark("TensorFlow and Keras imported")
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    callbacks = []
    is_root = True
    if arm == "ours":
        import hvd_imgcls.keras as hvd

        hvd.init()
        is_root = hvd.rank() == 0
        mark("ranks joined")
        optimizer = hvd.DistributedOptimizer(optimizer)
        callbacks = [
            hvd.callbacks.BroadcastGlobalVariablesCallback(0),
            hvd.callbacks.MetricAverageCallback(),
        ]
    model = workload.make_model(optimizer)
    batches = workload.make_batches(32)
    mark("model built")

    class First(keras.callbacks.Callback):
        def on_train_begin(self, logs: object = None) -> None:
            mark("state broadcast and compared" if arm == "ours" else "fit entered")

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            marks.setdefault("first step done", time.time())

    model.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0, callbacks=[*callbacks, First()])
    if is_root:
        with open(result_path, "w", encoding="utf-8") as file:
            json.dump(marks, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
