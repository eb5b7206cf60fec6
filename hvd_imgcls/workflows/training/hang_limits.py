"""What a rank does in a run, and how long that may take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hvd_imgcls import distributed
from hvd_imgcls.config.running.watchdog import Watchdog as Limits
from hvd_imgcls.data.order.positions import rank_rows
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.failures import process_state
from hvd_imgcls.interruption import end_by_hang
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.watchdog import Watchdog
from hvd_imgcls.workflows.training.phase import Phase


class HangLimits:
    """Tells a watchdog what this rank does now, with the limit of the configuration.

    Args:
        limits: The configuration; None for no limits.
        topology: This rank.
    """

    def __init__(self, limits: Limits | None, topology: Topology) -> None:
        self._limits = limits
        self._is_root = topology.is_root
        self._watchdog = Watchdog(
            f"rank-{topology.rank}",
            [f"rank-{rank}" for rank in range(topology.size)],
            where=_where,
            details=_details,
            end=end_by_hang,
        )
        self._is_first = True

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Context manager in which the limits apply."""
        if self._limits is None:
            yield
            return
        with self._watchdog.watching():
            self.start()
            yield

    def write_to(self, files: RunDir) -> None:
        """Sets the run directory, for what the threads were doing."""
        self._watchdog.write_to(files.hang)

    def start(self) -> None:
        """The run starts."""
        if self._limits is not None:
            seconds = self._limits.start_seconds
            self._watchdog.expect("starting", seconds, is_waiting=distributed.is_waiting)

    def compile(self) -> None:
        """The next batch, or block of an evaluation, is the first one."""
        self._is_first = True
        if self._limits is not None:
            seconds = self._limits.compilation_seconds
            self._watchdog.expect(
                "tracing and compiling", seconds, is_waiting=distributed.is_waiting
            )

    def wait_for_batch(self) -> None:
        """Takes the next batch from the dataset."""
        self._in_step("waiting for the next batch")

    def compute(self) -> None:
        """Computes a batch, and waits for the gradients of other ranks."""
        self._in_step("computing a step, or waiting for other ranks")

    def call_back(self) -> None:
        """Runs callbacks, after a batch or an epoch."""
        self._is_first = False
        self._in_step("running callbacks")

    @contextlib.contextmanager
    def exchanging(self) -> Iterator[None]:
        """Context manager in which progress is exchanged with other ranks, among callbacks."""
        self._in_step("exchanging progress with other ranks")
        yield
        self.call_back()

    def evaluate(self) -> None:
        """Evaluates a block of images."""
        if self._limits is None:
            return
        first, self._is_first = self._is_first, False
        limits = self._limits
        seconds = limits.compilation_seconds if first else limits.evaluation_seconds
        self._watchdog.expect(
            "evaluating a block of images", seconds, is_waiting=distributed.is_waiting
        )

    def save(self) -> None:
        """Waits until the root has written a checkpoint."""
        if self._limits is not None:
            seconds = self._limits.checkpoint_seconds
            is_root = self._is_root
            self._watchdog.expect("writing a checkpoint", seconds, is_waiting=lambda: not is_root)

    def export(self) -> None:
        """Writes model, metrics and report."""
        if self._limits is not None:
            seconds = self._limits.export_seconds
            self._watchdog.expect("writing the results", seconds, is_waiting=distributed.is_waiting)

    def _in_step(self, activity: str) -> None:
        if self._limits is None:
            return
        limits = self._limits
        seconds = limits.compilation_seconds if self._is_first else limits.step_seconds
        self._watchdog.expect(activity, seconds, is_waiting=distributed.is_waiting)


def _where() -> str:
    return process_state.where()


def _details() -> str:
    return process_state.details()


def describe_step(phase: Phase) -> str:
    """Returns the step that is being made, for messages."""
    position = phase.position
    return f"{phase.name}, epoch {position.epoch + 1}, step {position.step + 1}"


def describe_images(phase: Phase, rank: int) -> str:
    """Returns the images of a rank in the batch that is being made; empty between epochs."""
    position, plan = phase.position, phase.plan
    rows = rank_rows(
        plan,
        rank=rank,
        epoch=position.epoch,
        start_step=position.step_in_epoch,
        division=phase.source.division,
        allocation=phase.allocation,
    )
    examples = rows.first(1, skipped=position.passes)
    names = [phase.source.name_of("train", one) for one in examples]
    return "\n".join(["images of the batch:", *names]) if names else ""
