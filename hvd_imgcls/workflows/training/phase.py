"""One training within a run: the pre-training, or the training with labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data import ImageSource
from hvd_imgcls.data.bad_examples.log import BadExampleLog
from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.position import Position
from hvd_imgcls.workflows.progress import Record


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What `fit` needs to know of a training.

    Attributes:
        name: `training` or `pretraining`: its prefix in the state of the run.
        config: What the pipeline file says, as far as it is about this training.
        plan: What follows from it.
        source: The images.
        model: The model; compiled by `compile`.
        compile: Gives the model loss, metrics and a new optimizer.
        record: What has happened; filled in.
        metrics_path: File of one JSON line per epoch.
        transform: Changes the dataset of (images, targets, weights).
        position: Where the training is.
        bad_example_log: Images that could not be read.
    """

    name: str
    config: RunConfig
    plan: Plan
    source: ImageSource
    model: keras.Model
    compile: Callable[[], None]
    record: Record
    metrics_path: Path
    transform: Callable[[tf.data.Dataset], tf.data.Dataset] = field(default=lambda dataset: dataset)
    position: Position = field(init=False)
    bad_example_log: BadExampleLog = field(default_factory=BadExampleLog)

    def __post_init__(self) -> None:
        position = Position(self.plan.gradient_accumulation_steps)
        object.__setattr__(self, "position", position)
