"""A rank of `bench memory`: trains for two steps, then writes how much memory is in use.

    python -m hvd_imgcls.bench.communication.memory_rank RESULT IS_DIVIDED

RESULT receives the bytes of the optimizer's variables and of the process, the largest of all ranks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np
import psutil

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed
from hvd_imgcls.config.models import ResNet
from hvd_imgcls.models import build_model

# Small images: the activations take little, next to weights and state.
_SIDE, _NUM_CLASSES = 32, 1000


def main(words: list[str]) -> None:
    """Trains and writes the largest numbers of all ranks."""
    result, is_divided = words
    ranks = distributed.start()
    keras.utils.set_random_seed(0)
    model = build_model(ResNet(name="resnet50"), (_SIDE, _SIDE, 3), _NUM_CLASSES)
    optimizer = hvd.DistributedOptimizer(
        keras.optimizers.AdamW(1e-3), shard_optimizer_state=bool(int(is_divided))
    )
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.zeros((4, _SIDE, _SIDE, 3), np.uint8)
    model.fit(images, np.arange(4), batch_size=2, verbose=0)
    own = {
        "state": sum(np.asarray(variable).nbytes for variable in optimizer.variables),
        "resident": psutil.Process().memory_info().rss,
    }
    of_ranks = ranks.gather_json(own)
    if ranks.topology.is_root:
        largest = {name: max(one[name] for one in of_ranks) for name in own}
        Path(result).write_text(json.dumps(largest), encoding="utf-8")
    ranks.barrier()


if __name__ == "__main__":
    main(sys.argv[1:])
