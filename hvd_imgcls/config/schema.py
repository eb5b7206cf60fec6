"""What a pipeline file may say. `RunConfig` is the whole file, the others are its sections.

The file says what is trained, never on how many ranks: the only batch size in it is the
global one, and everything that depends on the ranks is derived by `hvd_imgcls.plan`.
"""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.augmentations import Augmentation
from hvd_imgcls.config.averaging import Ema, Lookahead
from hvd_imgcls.config.callbacks import Callback
from hvd_imgcls.config.evaluation import Evaluation
from hvd_imgcls.config.fine_tuning import FineTuning
from hvd_imgcls.config.gradient_clipping import GradientClipping, NoClipping
from hvd_imgcls.config.logging_section import Logging
from hvd_imgcls.config.losses import CrossEntropy, Loss
from hvd_imgcls.config.models import Model
from hvd_imgcls.config.normalization import Normalization, UnitRange
from hvd_imgcls.config.optimizers import Optimizer
from hvd_imgcls.config.placement import Placement, Shared
from hvd_imgcls.config.pretraining import Reconstruction
from hvd_imgcls.config.schedules import Schedule
from hvd_imgcls.config.sections import (
    STRICT,
    LeftOpenFraction,
    NonNegativeInt,
    PositiveInt,
    Probability,
    Seed,
)
from hvd_imgcls.config.sources import Source

DEFAULT_MAX_PIXELS = 178_956_970
"""Where Pillow refuses a decompression bomb: twice its `MAX_IMAGE_PIXELS`, 512 MiB of RGB."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Data:
    """Where the images are."""

    source: Source
    """The images, their labels and how they are split."""

    placement: Placement = Shared()
    """Which ranks see which images. Other placements than `shared` need the source `records`."""

    image_size: PositiveInt | None = None
    """Height and width, in pixels, of the images that the network sees.

    Needed for sources whose images differ in size. Other images have the size they have.
    """

    num_channels: Literal[1, 3] = 3
    """Channels that image files are decoded to: 3 for colour, 1 for grey."""

    normalization: Normalization = UnitRange()
    """What is done to pixels of 0 to 255 at the entrance of the network; part of the model."""

    cache: Literal["none", "encoded", "decoded"] = "none"
    """What is kept in memory, on every rank.

    `encoded`: image files as they are, read once, at the start; for disks that are slow to read
    from again and again. It takes as much memory as the files. `decoded`: every image decoded
    and resized once, at the start, which pays for small images. It takes
    `image_size * image_size * num_channels` bytes for each.
    """

    labelled_fraction: LeftOpenFraction = 1.0
    """Part of each class of the training images whose labels are used, chosen by `train.seed`.

    At least one image of each class. The others serve `pretraining` only.
    """

    max_pixels: PositiveInt = DEFAULT_MAX_PIXELS
    """Pixels that an image file may have. Larger ones are refused before they are decoded."""

    bad_examples: Literal["fail", "quarantine"] = "fail"
    """What happens with images that cannot be read.

    `fail`: the run ends and names the first one. `quarantine`: they are left out, that is, they
    have no weight in training and no part in the metrics, and the run directory lists them
    in `quarantine.jsonl`; too many of them end the run.
    """

    max_bad_fraction: Probability = 0.001
    """With `quarantine`: part of a split that may be bad.

    It is rounded up to whole images, so of a small split one image may be bad, unless this is 0.
    """

    max_bad_examples: NonNegativeInt = 100
    """With `quarantine`: images of a split that may be bad. The smaller of both limits counts."""

    def __post_init__(self) -> None:
        if self.placement.name != "shared" and self.source.name != "records":
            raise ValueError(f"placement {self.placement.name} needs source.name records")
        if self.placement.name != "shared" and self.labelled_fraction < 1:
            raise ValueError("labelled_fraction below 1 needs placement shared")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Train:
    """How long and how to train."""

    global_batch_size: PositiveInt
    """Examples per step over all ranks and all accumulated passes."""

    num_epochs: PositiveInt | None = None
    """Passes over the training split. Either this or `num_steps`."""

    num_steps: PositiveInt | None = None
    """Steps, that is optimizer updates. Either this or `num_epochs`."""

    gradient_accumulation_steps: PositiveInt = 1
    """Backward passes per step. More of them need less memory for the same global batch."""

    last_batch: Literal["drop", "weighted"] = "drop"
    """What becomes of the examples of an epoch that do not fill a global batch.

    `drop` leaves them out, others in every epoch. `weighted` fills the batch up with images of
    weight 0 and gives the others so much weight that the gradient is their mean.
    """

    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """The Keras dtype policy: what layers compute in. Weights are float32 always."""

    seed: Seed = 0
    """Seed of initial weights, order of the examples and augmentation."""

    recalibration_batches: NonNegativeInt = 0
    """Batches per rank over which, after the training, batch normalisation's moving statistics
    are computed anew, as the plain mean. 0 keeps the moving ones.
    """

    class_weights: Literal["none", "balanced"] = "none"
    """What examples of a class count in the loss.

    `balanced`: every class counts the same, however many examples it has. The weight of a class
    is `num_examples / (num_classes * examples of it)`, their mean over the examples is 1. A mixed
    image has the mean of its classes' weights. Metrics of the held-out split have no weights.
    """

    lookahead: Lookahead | None = None
    """Slow weights that the optimizer's weights are pulled back to. null for none."""

    ema: Ema | None = None
    """A running average of the weights, which then is the model of the run. null for none."""

    non_finite: Literal["stop", "skip"] = "stop"
    """What happens when a gradient is NaN or infinite, on any rank.

    Such a gradient never reaches the weights. `stop`: all ranks end with one message, which names
    the rank, the step and the examples. `skip`: all ranks leave the step out, which counts for
    the schedule all the same; `metrics.jsonl` counts `skipped_steps`, and 100 in a row end
    the run. With `mixed_float16`, infinities that lower the loss scale are no reason for either.
    """

    check_every_steps: NonNegativeInt = 100
    """Steps between two comparisons of weights and optimizer state over all ranks.

    0 compares at the start and at the end only.
    """

    def __post_init__(self) -> None:
        if (self.num_epochs is None) == (self.num_steps is None):
            raise ValueError("exactly one of num_epochs and num_steps (null unsets one)")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Synchronization:
    """How the ranks bring their gradients together."""

    mode: Literal["allreduce"] = "allreduce"
    """`allreduce`: every rank holds the whole model and the mean of all gradients."""

    compression: Literal["none", "fp16"] = "none"
    """What gradients are sent as. `fp16` halves the traffic and rounds the gradients."""

    batch_normalization: Literal["local", "synchronized"] = "local"
    """Whose images batch normalisation takes its moments of.

    `local`: those of one rank; the moving statistics are averaged over the ranks before they
    are used. `synchronized`: those of the whole batch, so that the result does not depend on
    the number of ranks; it costs two small reductions per layer and step.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RunConfig:
    """One complete training run."""

    data: Data
    """Where the images are."""

    model: Model
    """The network."""

    optimizer: Optimizer
    """The optimizer."""

    schedule: Schedule
    """The learning rate at every step."""

    train: Train
    """How long and how to train."""

    pretraining: Reconstruction | None = None
    """Training without labels before the training with labels. null for none."""

    augment: tuple[Augmentation, ...] = ()
    """Random changes of the training images, applied in this order."""

    loss: Loss = CrossEntropy()
    """What training minimises."""

    gradient_clipping: GradientClipping = NoClipping()
    """How gradients are clipped, after all ranks have added theirs up."""

    fine_tuning: FineTuning = FineTuning()
    """What is different when a trained network is trained further."""

    synchronization: Synchronization = Synchronization()
    """How the ranks bring their gradients together."""

    evaluation: Evaluation = Evaluation()
    """How the held-out split is evaluated."""

    logging: Logging = Logging()
    """What the run writes to be looked at."""

    callbacks: tuple[Callback, ...] = ()
    """What looks at the metrics after an epoch, and decides or writes."""

    run_dir: str | None = None
    """Directory of the run. Without it `runs/<pipeline>-<n>` with the first free n."""
