"""The `watchdog` section: how long a rank may take before the run ends."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, PositiveFloat


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Watchdog:
    """How long a rank may take for one thing, in seconds, before the whole run ends.

    The run ends with exit code 6. What all threads of all ranks were doing is written to the
    directory `hang` in the run directory. Ranks that wait for others are given a quarter more, so
    that the one they wait for is named. null for no limit.
    """

    start_seconds: PositiveFloat | None = 3600.0
    """Opening the images and building the model."""

    compilation_seconds: PositiveFloat | None = 1800.0
    """The first step, which is traced and compiled, and the first block of an evaluation."""

    step_seconds: PositiveFloat | None = 240.0
    """One batch: waiting for it, computing it, and callbacks.

    Horovod ends the run after 300 s without knowing the reason, on several ranks.
    """

    evaluation_seconds: PositiveFloat | None = 240.0
    """One block of an evaluation."""

    checkpoint_seconds: PositiveFloat | None = 1800.0
    """Waiting until a checkpoint is written."""

    export_seconds: PositiveFloat | None = 1800.0
    """Statistics over all held-out images, and writing model, metrics and report."""
