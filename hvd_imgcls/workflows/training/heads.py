"""The last layer of a run's model, whole or divided over the ranks."""

from __future__ import annotations

import logging

import keras

from hvd_imgcls.config.models import class_sharded_head
from hvd_imgcls.config.reading.class_sharding import evaluates_by_example
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.class_sharding.grouping import ranks_of_parts
from hvd_imgcls.keras.class_sharding.head import ClassShardedHead
from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.sampling import ClassSampler
from hvd_imgcls.plan.class_division import ClassDivision
from hvd_imgcls.workflows.training.run import Run

logger = logging.getLogger(__name__)


def divided_head(run: Run, model: keras.Model) -> ClassShardedHead | None:
    """Returns the divided last layer of a model; None if the configuration does not divide it.

    Collective: every rank must call this.

    Args:
        run: The run.
        model: The model, with the same weights on all ranks. Its last layer loses its memory.

    Raises:
        ConfigError: If the model, the classes or the ranks cannot be divided so.
    """
    section = class_sharded_head(run.config.model)
    if section is None:
        return None
    size = run.ranks.topology.size
    num_classes, num_parts = run.plan.num_classes, section.parts or size
    if num_parts > num_classes or size % num_parts:
        raise ConfigError(
            "model.head.parts",
            got=f"{num_parts} parts of {num_classes:,} classes on {size} ranks",
            expected="at most one part per class, and a number that divides that of the ranks",
            fix="change it, or the number of ranks",
        )
    division = ClassDivision(num_classes=num_classes, num_parts=num_parts, size=size)
    group, copies = ranks_of_parts(run.collectives, division)
    part = ClassPart(division, run.rank, group=group, copies=copies)
    sampler = None
    if section.sampled_fraction < 1:
        sampler = ClassSampler(part, section.sampled_fraction, run.plan.seed)
    logger.info(
        "last layer: %s classes in %d parts of about %s%s",
        f"{num_classes:,}",
        num_parts,
        f"{len(part.classes):,}",
        f", of which {sampler.num_drawn:,} are drawn for a step" if sampler else "",
    )
    if not evaluates_by_example(run.config):
        size_in_bytes = 8 * num_classes * run.plan.evaluation.num_examples
        logger.warning(
            "evaluation.metrics all: in evaluations, every rank has the whole last layer, and the "
            "ranks together store %.3g GB of probabilities; by_example is computed from the parts",
            size_in_bytes / 1e9,
        )
    return ClassShardedHead(model, part, sampler)
