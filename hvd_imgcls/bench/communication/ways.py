"""Ways of keeping the ranks in step that the benchmarks compare. A further one is one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hvd_imgcls.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Way:
    """A way of our distributed optimizer.

    Attributes:
        name: Its name.
        arguments: Arguments of `DistributedOptimizer` from the module `hvd_imgcls.keras`, which
            is imported only on the ranks.
        most_bytes: Goal of `bench bytes`: payload that a rank sends in a step, relative to a ring
            of float32 gradients; None if there is none.
        first_steps: Steps before it is measured: tracing, the checks of the first two updates, and
            congestion windows.
    """

    name: str
    arguments: Callable[[Any], dict[str, Any]]
    most_bytes: float | None = None
    first_steps: int = 3


WAYS = (
    # 0.5 % for the messages with which Horovod negotiates.
    Way("none", lambda hvd: {"compression": hvd.Compression.none}, most_bytes=1.005),
    Way("fp16", lambda hvd: {"compression": hvd.Compression.fp16}, most_bytes=0.505),
    Way("bf16", lambda hvd: {"compression": hvd.Compression.bf16()}, most_bytes=0.505),
    Way("int8", lambda hvd: {"compression": hvd.Compression.int8()}, most_bytes=0.26),
    # 1 % with positions: 2 % of the bytes on two ranks, 4 % on four.
    Way("top_k", lambda hvd: {"compression": hvd.Compression.top_k()}),
    Way("power_sgd", lambda hvd: {"compression": hvd.Compression.power_sgd()}, most_bytes=0.02),
    # It chooses after 18 steps.
    Way("auto", lambda hvd: {"compression": hvd.Compression.auto()}, first_steps=20),
    Way("delayed", lambda hvd: {"mode": hvd.Delayed()}, most_bytes=1.005),
    Way(
        "delayed, int8",
        lambda hvd: {"mode": hvd.Delayed(), "compression": hvd.Compression.int8()},
        most_bytes=0.26,
    ),
    Way(
        "delayed, power_sgd",
        lambda hvd: {"mode": hvd.Delayed(), "compression": hvd.Compression.power_sgd()},
        most_bytes=0.02,
    ),
    Way("sharded", lambda hvd: {"shard_optimizer_state": True}, most_bytes=1.005),
    Way("local_sgd of 16", lambda hvd: {"mode": hvd.LocalSGD(period=16)}, most_bytes=0.07),
)
BY_NAME = {way.name: way for way in WAYS}


def chosen(names: Sequence[str]) -> list[Way]:
    """Returns the ways with these names, all if there are none.

    Raises:
        ConfigError: If there is no such way.
    """
    for name in names:
        if name not in BY_NAME:
            raise ConfigError(
                "--ways", got=name, expected=f"of {', '.join(BY_NAME)}", fix="correct it"
            )
    return [BY_NAME[name] for name in names] or list(WAYS)
