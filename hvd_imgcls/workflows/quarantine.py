"""Synchronises the list of images that `data.bad_examples: quarantine` leaves out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hvd_imgcls import distributed
from hvd_imgcls.config import RunConfig
from hvd_imgcls.data import ImageSource
from hvd_imgcls.data.bad_examples.log import BadExampleLog
from hvd_imgcls.data.bad_examples.record import BadExample, in_lines, require_few
from hvd_imgcls.data.bad_examples.unreadable import why_left_out
from hvd_imgcls.data.order.positions import crop_key, rank_rows
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.files.json_files import append_json_lines
from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.allocation import Allocation
from hvd_imgcls.plan.position import Position

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlannedImages:
    """The images of a training phase and how they are processed.

    Attributes:
        source: The images.
        config: Defines preprocessing and the limit of bad images.
        plan: Defines their order.
        allocation: How the examples are divided over ranks, if not equally.
    """

    source: ImageSource
    config: RunConfig
    plan: Plan
    allocation: Allocation | None = None


class Quarantine(keras.callbacks.Callback):
    """Collects the images that the ranks have left out, at the same steps on all of them.

    Runs every `check_every_steps` steps and at the end of every epoch.

    Collective: every rank must have this callback in the same position.

    Args:
        phase: Name of the phase: `training` or `pretraining`.
        images: The images, their preprocessing, the limit, and the plan.
        position: Position of the phase.
        bad_example_log: The log filled by the data threads of this rank.
        collectives: Communication between the ranks.
        path: File to which the root appends one line per bad image.
    """

    def __init__(
        self,
        phase: str,
        images: PlannedImages,
        position: Position,
        bad_example_log: BadExampleLog,
        collectives: distributed.Collectives,
        path: Path,
    ) -> None:
        super().__init__()
        self._phase = phase
        self._source, self._config, self._plan = images.source, images.config, images.plan
        self._allocation = images.allocation
        self._bad_example_log = bad_example_log
        self._collectives = collectives
        self._path = path
        self._position = position
        self._bad: dict[int, BadExample] = {}

    def state(self) -> dict[str, Any]:
        """Returns the bad images known to all ranks."""
        return {"bad": [bad.to_json() for bad in self._bad.values()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the result of `state`."""
        self._bad = {entry["example"]: BadExample(**entry) for entry in state["bad"]}

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Synchronises the list if due. Collective."""
        every, position = self._plan.check_every_steps, self._position
        if every and not position.passes and position.step % every == 0:
            self._agree(position.step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Synchronises the list. Collective."""
        self._agree(self._position.step)

    def _agree(self, finished_steps: int) -> None:
        """Logs and counts new bad images of any rank; raises on all ranks if there are too many."""
        local = self._new_of_this_rank(finished_steps)
        found = _gather(self._collectives, "train", local)
        # Two ranks may have encountered the same image, in different epochs.
        found.sort(key=lambda bad: (bad.step or 0, bad.example))
        new = list({bad.example: bad for bad in reversed(found)}.values())[::-1]
        if not new:
            return
        self._bad.update((bad.example, bad) for bad in new)
        _report(self._collectives, new, self._path)
        require_few(
            list(self._bad.values()),
            self._config.data,
            "train",
            self._plan.num_train_examples,
        )

    def _new_of_this_rank(self, finished_steps: int) -> list[BadExample]:
        """Returns what the completed steps left out and other ranks do not know yet."""
        first_epochs = {
            example: epoch
            for example, epoch in self._bad_example_log.first_epochs().items()
            if example not in self._bad
        }
        places = []
        for epoch in sorted(set(first_epochs.values())):
            rows = rank_rows(
                self._plan,
                rank=self._collectives.topology.rank,
                epoch=epoch,
                division=self._source.division,
                allocation=self._allocation,
            ).examples
            examples = [one for one, first in first_epochs.items() if first == epoch]
            for row in np.flatnonzero(np.isin(rows, examples).any(axis=1)).tolist():
                step = epoch * self._plan.steps_per_epoch
                step += row // self._plan.gradient_accumulation_steps + 1
                # Later ones have only been prefetched, on some ranks and not on others.
                if step <= finished_steps:
                    here = np.intersect1d(rows[row], examples).tolist()
                    places += [(example, epoch, step) for example in here]
        keyed = ((example, crop_key(self._plan, epoch)) for example, epoch, _ in places)
        reasons = why_left_out(self._source, self._config, "train", keyed) if places else []
        return [
            BadExample(
                name=self._source.name_of("train", example),
                split="train",
                example=example,
                reason=reason,
                epoch=epoch + 1,
                step=step,
                rank=self._collectives.topology.rank,
                phase=self._phase,
            )
            for (example, epoch, step), reason in zip(places, reasons, strict=True)
        ]


def report_held_out(
    examples: Numbers,
    source: ImageSource,
    config: RunConfig,
    *,
    collectives: distributed.Collectives,
    path: Path | None,
) -> None:
    """Reports which held-out images were left out.

    Collective: every rank must call this.

    Args:
        examples: Numbers of the examples that this rank left out.
        source: The images.
        config: Defines preprocessing and the limit of bad images.
        collectives: Communication between the ranks.
        path: File to which the root appends one line per bad image, or None.

    Raises:
        BadImagesError: On all ranks, if more images are bad than allowed.
    """
    if config.data.bad_examples == "fail":
        return
    numbers = examples.tolist()
    reasons = why_left_out(source, config, "held_out", ((n, 0) for n in numbers)) if numbers else []
    local = [
        BadExample(
            name=source.name_of("held_out", example),
            split="held_out",
            example=example,
            reason=reason,
            epoch=None,
            step=None,
            rank=collectives.topology.rank,
        )
        for example, reason in zip(numbers, reasons, strict=True)
    ]
    found = sorted(_gather(collectives, "held_out", local), key=lambda bad: bad.example)
    if found:
        _report(collectives, found, path)
        require_few(found, config.data, "held_out", source.num_examples("held_out"))


def _gather(
    collectives: distributed.Collectives, split: Split, local: Iterable[BadExample]
) -> list[BadExample]:
    """Returns the bad examples of all ranks. Collective; usually one small allreduce."""
    local = list(local)
    count = np.array([len(local)], np.int64)
    if not collectives.sum_arrays(f"quarantine.{split}", count)[0]:
        return []
    by_rank = collectives.gather_json([bad.to_json() for bad in local])
    return [BadExample(**bad) for of_rank in by_rank for bad in of_rank]


def _report(collectives: distributed.Collectives, new: list[BadExample], path: Path | None) -> None:
    """Appends bad examples to the file and logs them. Root only."""
    if not collectives.topology.is_root:
        return
    if path is not None:
        append_json_lines(path, (bad.to_json() for bad in new))
    plural = "s" if len(new) > 1 else ""
    logger.warning("left out %d unreadable image%s:%s", len(new), plural, in_lines(new))
