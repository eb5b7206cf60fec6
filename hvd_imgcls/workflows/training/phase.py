"""One phase of a run: pre-training or supervised training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data import ImageSource
from hvd_imgcls.data.bad_examples.log import BadExampleLog
from hvd_imgcls.keras.class_sharding.head import ClassShardedHead
from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.allocation import Allocation
from hvd_imgcls.plan.position import Position
from hvd_imgcls.workflows.progress import Record


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A training phase, as `fit` needs it.

    Attributes:
        name: `training` or `pretraining`: its prefix in the state of the run.
        config: The configuration that applies to this phase.
        plan: The plan derived from it.
        source: The images.
        model: The model; compiled by `compile`.
        compile: Compiles the model with loss, metrics and a new optimizer.
        record: Results so far; updated.
        metrics_path: File with one JSON line per epoch.
        transform: Transforms the dataset of (images, targets, weights).
        position: Position of the phase.
        bad_example_log: Images that could not be decoded.
        allocation: How the examples are divided over ranks; None if equally.
        head: The last layer of the model, if it is divided over the ranks.
    """

    name: str
    config: RunConfig
    plan: Plan
    source: ImageSource
    model: keras.Model
    compile: Callable[[], None]
    position: Position
    record: Record
    metrics_path: Path
    transform: Callable[[tf.data.Dataset], tf.data.Dataset] = field(default=lambda dataset: dataset)
    bad_example_log: BadExampleLog = field(default_factory=BadExampleLog)
    allocation: Allocation | None = None
    head: ClassShardedHead | None = None

    @contextlib.contextmanager
    def whole_model(self) -> Iterator[keras.Model]:
        """Context manager that yields the model with all classes, for evaluation and saving.

        With a divided last layer, functions of it are to be traced in this context. Collective:
        every rank must call this.
        """
        if self.head is None:
            yield self.model
        else:
            with self.head.gathered() as model:
                yield model
