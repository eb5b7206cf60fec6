"""Results of a run so far: the numbers for the summary."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hvd_imgcls.workflows.progress.tensorboard import Board
from hvd_imgcls.workflows.progress.waiting import Times

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """One epoch, without the first step of a phase, which traces and compiles.

    Attributes:
        num_images: Images of all ranks, including padding.
        seconds: Time on this rank, from the first batch to the last.
        times: Times of all ranks.
    """

    num_images: int
    seconds: float
    times: Times

    def to_state(self) -> dict[str, Any]:
        """Returns the record as JSON values and arrays."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> EpochRecord:
        """Reverts `to_state`."""
        return cls(**{**state, "times": Times(**state["times"])})


@dataclass(kw_only=True, slots=True)
class Record:
    """Results of a run on one rank, updated during the run.

    Attributes:
        board: TensorBoard writer, None if disabled and on all ranks but the root.
        clock: Returns seconds since an arbitrary moment.
        began: Start of the run, by that clock.
        epochs: All epochs, in order.
        num_steps: Steps so far.
        num_skipped_steps: Steps in which the optimizer changed nothing, because a
            gradient was NaN or infinite.
        training_seconds: Time from the start to the end of `fit`.
        evaluation_seconds: Time of the final evaluation.
        pretraining: The same for pre-training, or None.
    """

    board: Board | None = None
    clock: Clock = time.monotonic
    began: float = field(default=0.0)
    epochs: list[EpochRecord] = field(default_factory=list)
    num_steps: int = 0
    num_skipped_steps: int = 0
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    pretraining: Record | None = None

    def __post_init__(self) -> None:
        self.began = self.began or self.clock()

    @property
    def seconds(self) -> float:
        """Time since the start of the run."""
        return self.clock() - self.began

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Context manager whose time counts as evaluation."""
        began = self.clock()
        try:
            yield
        finally:
            self.evaluation_seconds += self.clock() - began

    def state(self) -> dict[str, Any]:
        """Returns the record as JSON values and arrays."""
        return {
            "seconds": self.seconds,
            "epochs": [epoch.to_state() for epoch in self.epochs],
            "num_steps": self.num_steps,
            "num_skipped_steps": self.num_skipped_steps,
            "training_seconds": self.training_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "pretraining": None if self.pretraining is None else self.pretraining.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`; the time in between does not count."""
        self.began = self.clock() - state["seconds"]
        self.epochs = [EpochRecord.from_state(epoch) for epoch in state["epochs"]]
        self.num_steps = state["num_steps"]
        self.num_skipped_steps = state["num_skipped_steps"]
        self.training_seconds = state["training_seconds"]
        self.evaluation_seconds = state["evaluation_seconds"]
        if state["pretraining"] is not None:
            self.pretraining = self.pretraining or Record(board=self.board, clock=self.clock)
            self.pretraining.restore(state["pretraining"])

    def times(self) -> Times | None:
        """Returns the times of all ranks; None without an epoch.

        Over the epochs on the present number of ranks, if a resumed run has changed it.
        """
        total: Times | None = None
        for epoch in self.epochs:
            if epoch.times.size != self.epochs[-1].times.size:
                continue
            total = epoch.times if total is None else total + epoch.times
        return total

    def images_per_second(self) -> float | None:
        """Returns the training throughput of all ranks; None if nothing was measured."""
        return images_per_second(
            sum(epoch.num_images for epoch in self.epochs),
            sum(epoch.seconds for epoch in self.epochs),
        )


def images_per_second(num_images: int, seconds: float) -> float | None:
    """Returns the throughput; None without images."""
    return num_images / seconds if num_images and seconds > 0 else None
