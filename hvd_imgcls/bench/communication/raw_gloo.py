"""Allreduce of PyTorch over Gloo, without anything around it. Started by a rank.

    python raw_gloo.py RANK SIZE ADDRESS PORT

Runs in an environment with PyTorch and imports nothing of this package. Serves lines on standard
input, `NUM_BYTES REPEATS`, each answered by the seconds of one allreduce (float32, sum).
"""

from __future__ import annotations

import sys
import time

import torch
import torch.distributed


def seconds_per_call(num_bytes: int, repeats: int) -> float:
    """Returns the mean time of some allreduces that all ranks begin together."""
    tensor = torch.zeros(num_bytes // 4)
    torch.distributed.barrier()
    began = time.perf_counter()
    for _ in range(repeats):
        torch.distributed.all_reduce(tensor)
    return (time.perf_counter() - began) / repeats


def main(words: list[str]) -> None:
    """Joins the ranks, checks one sum, and serves."""
    rank, size, address, port = int(words[0]), int(words[1]), words[2], words[3]
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://{address}:{port}", rank=rank, world_size=size
    )
    ones = torch.ones(1000)
    torch.distributed.all_reduce(ones)
    if not bool((ones == size).all()):
        raise RuntimeError(f"the sum of {size} ones was {ones[0]}")
    print("ready", torch.__version__, flush=True)  # noqa: T201
    for line in sys.stdin:
        num_bytes, repeats = line.split()
        print(seconds_per_call(int(num_bytes), int(repeats)), flush=True)  # noqa: T201
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
