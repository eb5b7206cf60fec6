"""Steps of ResNet-20 with and without deterministic operations. Started by `bench checkpoint`.

python -m hvd_imgcls.bench.checkpoints.determinism_arms CORE default|deterministic
"""

from __future__ import annotations

import sys

import keras
import numpy as np

from hvd_imgcls.bench.measuring.window import Turns
from hvd_imgcls.config.models import CifarResNet
from hvd_imgcls.config.normalization import UnitRange
from hvd_imgcls.models import build_model
from hvd_imgcls.workflows.startup.determinism import make_deterministic

NUM_STEPS, BATCH_SIZE, SIDE, NUM_CLASSES = 20, 64, 32, 10


def main(core: int, kind: str) -> None:
    """Trains in turns."""
    turns = Turns(core)
    if kind == "deterministic":
        make_deterministic()
    keras.utils.set_random_seed(0)
    model = build_model(CifarResNet(name="resnet20"), (SIDE, SIDE, 3), NUM_CLASSES, UnitRange())
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), loss=loss, jit_compile=False)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH_SIZE, SIDE, SIDE, 3)).astype(np.uint8)
    targets = np.eye(NUM_CLASSES, dtype=np.float32)[random.integers(0, NUM_CLASSES, BATCH_SIZE)]

    def work() -> int:
        for _ in range(NUM_STEPS):
            model.train_on_batch(images, targets)
        return NUM_STEPS

    turns.serve(work)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
