"""The arm of `bench peers` that trains with PyTorch DistributedDataParallel over gloo.

    RANK=0 WORLD_SIZE=2 MASTER_ADDR=... MASTER_PORT=... \
        python peer_torch.py RESULT GLOBAL_BATCH STEPS THREADS

Runs in an environment with PyTorch and imports nothing of this package. The network is
that of `training_rate`, in the layout that is fastest in PyTorch (channels last).
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time

import torch
import torch.distributed
from torch import nn

NUM_WARM_UP_STEPS = 5


class Block(nn.Module):
    """Two convolutions and a shortcut of option A."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.strides = 2 if before != after else 1
        self.first = _convolution(before, after, self.strides)
        self.second = _convolution(after, after, 1)
        self.new = (after - before) // 2

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns `[batch, channels, height, width]`."""
        branch = self.second(torch.relu(self.first(features)))
        if self.strides == 2:
            features = features[:, :, ::2, ::2]
            features = nn.functional.pad(features, (0, 0, 0, 0, self.new, self.new))
        return torch.relu(branch + features)


def build_resnet20() -> nn.Module:
    """Returns He et al. 2015's network for small images."""
    stages = [(16, 16)] * 3 + [(16, 32)] + [(32, 32)] * 2 + [(32, 64)] + [(64, 64)] * 2
    return nn.Sequential(
        _convolution(3, 16, 1),
        nn.ReLU(),
        *(Block(*stage) for stage in stages),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def _convolution(before: int, after: int, strides: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, strides, 1, bias=False), nn.BatchNorm2d(after, momentum=0.1)
    )


def main(words: list[str]) -> None:
    """Trains for some steps; the first process writes the duration of each."""
    result, batch, steps, threads = words
    torch.set_num_threads(int(threads))
    torch.distributed.init_process_group("gloo")
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    if os.environ.get("PEER_CORE"):
        os.sched_setaffinity(0, {int(os.environ["PEER_CORE"])})
    torch.manual_seed(rank)
    model = build_resnet20().to(memory_format=torch.channels_last)
    model = nn.parallel.DistributedDataParallel(
        model, gradient_as_bucket_view=True, static_graph=True
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    per_rank = int(batch) // size
    pixels = torch.randint(0, 256, (per_rank, 3, 32, 32), dtype=torch.uint8)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (per_rank,))
    loss_of = nn.CrossEntropyLoss()
    ends = []
    for _ in range(int(steps) + NUM_WARM_UP_STEPS):
        optimizer.zero_grad()
        loss_of(model(pixels.float() / 255), labels).backward()
        optimizer.step()
        ends.append(time.perf_counter())
    if rank == 0:
        seconds = [after - before for before, after in itertools.pairwise(ends)]
        with open(result, "w", encoding="utf-8") as file:
            json.dump(seconds[NUM_WARM_UP_STEPS - 1 :], file)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
