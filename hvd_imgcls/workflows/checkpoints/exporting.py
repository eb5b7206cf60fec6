"""Turns a checkpoint into a plain Keras file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from hvd_imgcls.checkpoints.entry import Checkpoint
from hvd_imgcls.config import parse_config
from hvd_imgcls.config.models import GivenModel, KerasApplication
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.keras.saving import write_portable
from hvd_imgcls.keras.state.class_parts import with_whole_head
from hvd_imgcls.keras.state.combining import mean_statistics
from hvd_imgcls.keras.state.training_state import StatisticsState, WeightsState
from hvd_imgcls.models import build_model
from hvd_imgcls.state_registry import State


def fact(checkpoint: Checkpoint, name: str) -> Any:
    """Returns a fact about the run of a checkpoint.

    Raises:
        CheckpointError: If it is missing: the checkpoint is not one of a run.
    """
    if name not in checkpoint.facts:
        raise CheckpointError(f"{checkpoint.path}: it has no {name}; use a checkpoint of a run")
    return checkpoint.facts[name]


def weights_of(checkpoint: Checkpoint) -> tuple[State, State]:
    """Returns weights, and moving statistics averaged over the ranks, of the trained model.

    Raises:
        CheckpointError: If it was saved in pre-training, which trains another model.
    """
    ranks = [checkpoint.states, *checkpoint.states_by_rank]
    if "training.weights" not in checkpoint.states:
        raise CheckpointError(
            f"{checkpoint.path}: it was saved in pre-training, before the classifier is trained; "
            "choose a later checkpoint"
        )
    statistics = [one["training.statistics"] for one in ranks]
    weights = checkpoint.states["training.weights"]
    if "training.head" in checkpoint.states:
        weights = with_whole_head(weights, [one["training.head"] for one in ranks])
    return weights, mean_statistics(statistics, 0)


def export_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes the model of a checkpoint as a plain Keras file, with the raw weights, not averages.

    Args:
        checkpoint: The checkpoint.
        path: The file to write, `.keras`.

    Raises:
        CheckpointError: If the model cannot be built from the configuration.
        OSError: If the file cannot be written.
    """
    weights, statistics = weights_of(checkpoint)
    class_names = fact(checkpoint, "class_names")
    text = json.dumps(fact(checkpoint, "config"))
    config = parse_config(text, origin=str(checkpoint.path), is_of_run=True)
    if isinstance(config.model, GivenModel):
        raise CheckpointError(
            f"{checkpoint.path}: its model is not described by the configuration, it was given by "
            "a program; restore it there"
        )
    height, width, channels = (int(size) for size in fact(checkpoint, "image_shape"))
    section = config.model
    if isinstance(section, KerasApplication):
        section = dataclasses.replace(section, weights=None)
    shape = height, width, channels
    model = build_model(section, shape, len(class_names), config.data.normalization)
    WeightsState(model).restore(weights)
    StatisticsState(model).restore(statistics)
    write_portable(path, model)
