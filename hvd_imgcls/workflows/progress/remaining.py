"""Estimates the time until the end of a training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class RemainingTime:
    """Estimates the time until the end of a phase and of what follows it.

    Attributes:
        num_batches: Batches of the phase.
        num_traces: How often the step is traced and compiled in the phase.
        later_images: Images that are read and classified after the last batch.
        began: Time when the phase, and before it the first trace, began, in seconds.
        began_at: Batches that were completed then.
        first_batch_ended: Time when the first batch ended; None before.
    """

    num_batches: int
    num_traces: int = 1
    later_images: int = 0
    began: float = 0.0
    began_at: int = 0
    first_batch_ended: float | None = None

    def begin(self, now: float, num_batches: int) -> None:
        """Starts with `num_batches` completed batches, of a phase that is resumed."""
        self.began, self.began_at = now, num_batches

    def end_first_batch(self, now: float) -> None:
        """Notes when the first step was traced; later calls change nothing."""
        self.first_batch_ended = self.first_batch_ended or now

    def seconds(
        self, now: float, *, num_batches: int, traces: int, images_per_second: float | None
    ) -> float | None:
        """Returns the estimate, in seconds; None before the second batch.

        Pauses last as long as so far. Every further trace takes as long as the first. What follows
        reads its images as fast as training did.

        Args:
            now: Time, in seconds.
            num_batches: Completed batches.
            traces: How often the step has been traced.
            images_per_second: Throughput of the training; None if unknown.
        """
        done = num_batches - self.began_at - 1
        if done <= 0 or self.first_batch_ended is None:
            return None
        tracing = max(0, self.num_traces - traces) * (self.first_batch_ended - self.began)
        later = self.later_images / images_per_second if images_per_second else 0.0
        training = (now - self.first_batch_ended) / done * (self.num_batches - num_batches)
        return training + tracing + later
