"""Opens the images of a configuration and makes its plan.

Importing this does not import TensorFlow, so that configuration errors are reported before that.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.data.placement import Hybrid, Vertical
from hvd_imgcls.config.image_sizes import require_image_size, require_size_for_views
from hvd_imgcls.data import (
    ImageSource,
    host_shares_of,
    image_shape_of,
    make_plan_for,
    open_images,
    open_source,
)
from hvd_imgcls.data.sources.counts import CountedImages
from hvd_imgcls.data.sources.subset import labelled_part
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.plan import EvaluationPlan, Plan, make_evaluation_plan

if TYPE_CHECKING:
    from hvd_imgcls.distributed import Collectives


@dataclass(frozen=True, kw_only=True, slots=True)
class RunImages:
    """The images of a run.

    Attributes:
        labelled: The training images whose labels are used, and the held-out ones.
        whole: All training images, and the held-out ones.
        num_classes: Number of classes.
    """

    labelled: ImageSource
    whole: ImageSource
    num_classes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """What is known before TensorFlow is imported.

    Attributes:
        source: The images, if the configuration's source is already open.
        plan: The plan, if already made.
    """

    source: ImageSource | None = None
    plan: Plan | None = None


def open_run_images(
    config: RunConfig,
    *,
    source: ImageSource | None = None,
    collectives: Collectives | None = None,
    num_threads: int = 1,
) -> RunImages:
    """Opens the images, distributes them over the ranks, and selects the labelled ones.

    Nothing is decoded yet. Collective if `collectives` are given: every rank must call this.

    Args:
        config: The configuration.
        source: The images, if the configuration's source is already open.
        collectives: Communication between the ranks. If None, before they have joined, the counts
            are correct, but the images are not yet assigned to ranks.
        num_threads: Threads that read and decode for `data.cache`.

    Raises:
        ConfigError: If the configuration does not fit the source.
        DataError: If the data are invalid.
    """
    source = source or open_source(config.data.source, config.data.placement)
    num_classes = None
    if collectives is not None:
        from hvd_imgcls.data.placement.placing import place

        source = place(source, config, collectives)
    elif isinstance(config.data.placement, Vertical | Hybrid) and not isinstance(
        source, CountedImages
    ):
        from hvd_imgcls.data.placement.label_table import read_label_table

        num_classes = len(read_label_table(config.data.placement)[0])
    whole = open_images(config, source=source, num_threads=num_threads)
    return RunImages(
        labelled=labelled_part(whole, config),
        whole=whole,
        num_classes=num_classes or len(whole.class_names),
    )


def without_cache(config: RunConfig) -> RunConfig:
    """Returns a configuration without cache, to decode only some images; same pixels."""
    return dataclasses.replace(config, data=dataclasses.replace(config.data, cache="none"))


def plan_run(
    config: RunConfig,
    images: RunImages,
    topology: Topology,
    *,
    num_cores: int | None = None,
    uses_all_images: bool = False,
) -> Plan:
    """Returns the plan of a run.

    Args:
        config: The configuration.
        images: Its images.
        topology: Any rank of the run.
        num_cores: Cores of this host. Defaults to those that this process may use.
        uses_all_images: Whether to train on all images, including those without labels.

    Raises:
        ConfigError: If the configuration does not fit the images or the ranks.
        DataError: If a split is empty or there are fewer than two classes.
    """
    require_image_size(config, image_shape_of(images.whole, config))
    return make_plan_for(
        images.whole if uses_all_images else images.labelled,
        config,
        topology,
        num_cores=num_cores,
        num_classes=images.num_classes,
    )


def plan_evaluation(config: RunConfig, images: RunImages, size: int) -> EvaluationPlan:
    """Returns how the held-out split is evaluated on `size` ranks.

    Raises:
        ConfigError: If the images are too small for `evaluation.views`.
    """
    require_size_for_views(config.evaluation.views, image_shape_of(images.whole, config))
    return make_evaluation_plan(
        config,
        num_examples=images.whole.num_examples("held_out"),
        size=size,
        hosts=host_shares_of(images.whole, config),
    )
