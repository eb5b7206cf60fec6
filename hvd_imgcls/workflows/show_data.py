"""`hvd-imgcls show-data`: draws images as the network sees them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hvd_imgcls import logs
from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.augmentations import Cutmix, Mixup
from hvd_imgcls.data import ImageSource, Split, image_shape_of
from hvd_imgcls.data.order.epoch_order import epoch_order
from hvd_imgcls.data.order.positions import rank_rows
from hvd_imgcls.data.pipeline.previews import TrainingPreview, evaluation_images, training_previews
from hvd_imgcls.drawing.contact_sheet import Tile, blended, draw_sheet, plain_name, write_sheet
from hvd_imgcls.plan import Plan
from hvd_imgcls.workflows.startup.images import open_run_images, without_cache
from hvd_imgcls.workflows.startup.ranks import use_single_process

logger = logging.getLogger(__name__)

EPOCHS_SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetOptions:
    """Contents of a contact sheet.

    Attributes:
        pipeline_name: Name for the title.
        split: "train": the first examples of an epoch, as cropped for evaluation and as augmented
            in up to three epochs. "held_out": some examples, as cropped for evaluation.
        num_examples: Number of examples, at least 1; limited by the size of the split.
        first_epoch: 0-based, within the run.
    """

    pipeline_name: str
    split: Split = "train"
    num_examples: int = 16
    first_epoch: int = 0


def show_data(
    config: RunConfig,
    plan: Plan,
    out: Path,
    options: SheetOptions,
    *,
    source: ImageSource | None = None,
    verbosity: logs.Verbosity = logs.Verbosity.NORMAL,
) -> list[list[Tile]]:
    """Writes a contact sheet of examples, before and after the random augmentations of training.

    Not collective: for one process.

    Args:
        config: The configuration.
        plan: Its plan on one rank.
        out: PNG file.
        options: Contents of the sheet.
        source: The images, if the configuration's source is already open.
        verbosity: How much is logged.

    Returns:
        The contents of the sheet: the tiles of each example.

    Raises:
        ConfigError: If the pipeline cannot be trained, or the file cannot be written.
        DataError: If an image cannot be decoded.
    """
    # Set up one process that uses all cores.
    ranks = use_single_process(verbosity)

    # Choose the examples.
    collectives = ranks.collectives
    # Raises the errors that training would raise.
    open_run_images(config, source=source, collectives=collectives)
    config = without_cache(config)
    source = open_run_images(config, source=source, collectives=collectives).whole
    split, first_epoch = options.split, options.first_epoch
    epochs = range(first_epoch, min(first_epoch + EPOCHS_SHOWN, plan.num_epochs))
    chosen = _choose(source, plan, split, options.num_examples, first_epoch)
    before = evaluation_images(source, config, split, chosen, num_threads=ranks.threads.data)
    views = training_previews(source, config, plan, chosen, epochs) if split == "train" else []
    mixes = any(isinstance(part, Mixup | Cutmix) for part in config.augment)
    groups = make_groups(source, split, chosen, before, views, show_targets=mixes)

    # Draw the sheet, and log the file of each image.
    sheet = draw_sheet(
        groups,
        headings=["as evaluated", *(f"epoch {epoch + 1}" for epoch in epochs if views)],
        title=_title(options.pipeline_name, split, epochs),
        caption=_caption(source, config, plan, split),
        side=image_shape_of(source, config)[0],
    )
    write_sheet(sheet, out)
    labels = source.labels(split)
    for number, example in enumerate(chosen, 1):
        name = source.class_names[labels[example]]
        logger.info("#%-3d %s  (%s)", number, source.name_of(split, example), name)
    logger.log(
        logs.RESULT, "%d examples of %d by %d pixels: %s", len(chosen), *before.shape[1:3], out
    )
    return groups


def make_groups(
    source: ImageSource,
    split: Split,
    examples: Sequence[int],
    before: npt.NDArray[np.uint8],
    views: Sequence[Sequence[TrainingPreview | None]],
    *,
    show_targets: bool,
) -> list[list[Tile]]:
    """Returns the tiles of every example: the unaugmented one, then one per epoch.

    Args:
        source: For labels and class names.
        split: Split of the examples.
        examples: Their numbers.
        before: The images without augmentation, `[examples, height, width, channels]`.
        views: For each epoch, what training gets of each example, or None.
        show_targets: Whether to write the target under every augmented image, not only the class
            under the first tile.
    """
    labels = source.labels(split)
    names = [plain_name(name, label) for label, name in enumerate(source.class_names)]
    groups = []
    for i, example in enumerate(examples):
        group = [Tile(image=before[i], lines=((names[labels[example]], f"  #{i + 1}"),))]
        for epoch in views:
            view = epoch[i]
            if view is None:
                group.append(Tile(image=None, lines=(("not in this epoch", ""),)))
            else:
                lines = blended(view.target, names) if show_targets else ()
                group.append(Tile(image=view.image, lines=lines))
        groups.append(group)
    return groups


def _choose(
    source: ImageSource, plan: Plan, split: Split, num_examples: int, epoch: int
) -> list[int]:
    """Returns the first examples of an epoch, or some held-out examples."""
    if split == "train":
        rows = rank_rows(plan, rank=0, epoch=epoch, division=source.division)
        return [int(example) for example in rows.examples[rows.weights > 0][:num_examples]]
    order = epoch_order(plan.evaluation.num_examples, plan.seed, 0)
    return sorted(int(example) for example in order[:num_examples])


def _title(pipeline_name: str, split: Split, epochs: range) -> str:
    if split == "held_out":
        return f"{pipeline_name}: held-out images"
    which = f"epoch {epochs[0] + 1}"
    if len(epochs) > 1:
        which = f"epochs {epochs[0] + 1} to {epochs[-1] + 1}"
    return f"{pipeline_name}: training images, {which}"


def _caption(source: ImageSource, config: RunConfig, plan: Plan, split: Split) -> list[str]:
    """Returns the lines that describe the sheet."""
    height, width, channels = image_shape_of(source, config)
    data = (
        f"{config.data.source.name}: {height} x {width} pixels, "
        f"{'RGB' if channels == 3 else 'greyscale'}, {len(source.class_names)} classes, "
    )
    if split == "held_out":
        return [f"{data}{plan.evaluation.num_examples:,} held-out images, without augmentation"]
    changes = ", ".join(_describe(part) for part in config.augment) or "nothing"
    return [
        f"{data}{plan.num_train_examples:,} training images; seed {plan.seed}, "
        f"{plan.num_epochs} epoch{'s' if plan.num_epochs > 1 else ''}",
        f"augment: {changes}",
    ]


def _describe(part: object) -> str:
    """Describes an augmentation by its name and the values that differ from the defaults."""
    values = {
        field.name: getattr(part, field.name)
        for field in dataclasses.fields(part)  # type: ignore[arg-type]
        if field.name != "name" and getattr(part, field.name) != field.default
    }
    settings = ", ".join(f"{name} {_short(value)}" for name, value in values.items())
    return f"{part.name} ({settings})" if settings else part.name  # type: ignore[attr-defined]


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return " to ".join(_short(one) for one in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
