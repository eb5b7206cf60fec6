"""The schema of pipeline files. `RunConfig` is the whole file, the other classes its sections.

A file describes what is trained, independently of the number of ranks: its only batch size is
the global one, and `hvd_imgcls.plan` derives everything that depends on the ranks.
"""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.augmentations import Augmentation
from hvd_imgcls.config.averaging import Ema, Lookahead
from hvd_imgcls.config.data.allocation import Allocation, StaticAllocation
from hvd_imgcls.config.data.placement import Placement, Shared
from hvd_imgcls.config.data.sources import Source
from hvd_imgcls.config.evaluation import Evaluation
from hvd_imgcls.config.fine_tuning import FineTuning
from hvd_imgcls.config.gradient_clipping import GradientClipping, NoClipping
from hvd_imgcls.config.losses import CrossEntropy, Loss
from hvd_imgcls.config.models import Model, SmallCnn
from hvd_imgcls.config.normalization import Normalization, UnitRange
from hvd_imgcls.config.optimizers import AdamW, Optimizer
from hvd_imgcls.config.pretraining import Reconstruction
from hvd_imgcls.config.running.callbacks import Callback
from hvd_imgcls.config.running.checkpoint import Checkpoint
from hvd_imgcls.config.running.logging import Logging
from hvd_imgcls.config.running.watchdog import Watchdog
from hvd_imgcls.config.schedules import CosineSchedule, Schedule
from hvd_imgcls.config.sections import (
    STRICT,
    LeftOpenFraction,
    NonNegativeInt,
    PositiveInt,
    Probability,
    Seed,
)
from hvd_imgcls.config.synchronization import Synchronization

Resize = Literal["antialias", "bicubic", "bilinear"]

DEFAULT_MAX_PIXELS = 178_956_970
"""Pillow's limit for decompression bombs: twice its `MAX_IMAGE_PIXELS`, 512 MiB of RGB."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Data:
    """The images and how they are read."""

    source: Source
    """Source of the images, their labels and the splits."""

    placement: Placement = Shared()
    """Which ranks store which images. All but `shared` require the source `records`."""

    allocation: Allocation = StaticAllocation()
    """How many examples of a global batch each rank has."""

    image_size: PositiveInt | None = None
    """Height and width, in pixels, of the images that the network receives.

    Required for sources whose images differ in size. Other images keep their size.
    """

    resize: Resize = "antialias"
    """How images are resized to `image_size`.

    `antialias`: bilinearly, over all pixels that an output pixel covers, as in Pillow, torchvision
    and timm. `bicubic`: the same with a bicubic kernel, for networks that were trained so.
    `bilinear`: without antialiasing and with TensorFlow's inexact JPEG decoding, like all runs
    from before this key existed, which are still evaluated so.
    """

    exif_orientation: Literal["apply", "ignore"] = "apply"
    """Whether images are turned upright as their EXIF data says.

    `ignore` uses JPEG, PNG, WebP and AVIF images as they are stored, like all runs from before this
    key existed. The orientations of TIFF and HEIC belong to the format and are always applied.
    """

    num_channels: Literal[1, 3] = 3
    """Channels that image files are decoded to: 3 for RGB, 1 for greyscale."""

    normalization: Normalization = UnitRange()
    """How pixel values in 0 to 255 are normalised; part of the model."""

    cache: Literal["none", "encoded", "decoded"] = "none"
    """What every rank caches in memory.

    `encoded`: the image files, read once at the start; for storage that is too slow to read in
    every epoch. Takes as much memory as the files. `decoded`: the images, decoded and resized
    once at the start; worthwhile for small images. Takes
    `image_size * image_size * num_channels` bytes per image.
    """

    labelled_fraction: LeftOpenFraction = 1.0
    """Fraction of the training images of each class whose labels are used, drawn with `train.seed`.

    At least one image per class. The others are used by `pretraining` only.
    """

    max_pixels: PositiveInt = DEFAULT_MAX_PIXELS
    """Maximum pixels of an image file. Larger ones are rejected before decoding."""

    bad_examples: Literal["fail", "quarantine"] = "fail"
    """How images that cannot be decoded are handled.

    `fail`: the run ends with an error that names the first one. `quarantine`: they are excluded
    from training (weight 0) and from the metrics, and listed in `quarantine.jsonl` in the run
    directory; too many of them end the run.
    """

    max_bad_fraction: Probability = 0.001
    """With `quarantine`: maximum fraction of a split that may be bad.

    Rounded up to whole images: even in a small split one image may be bad, unless this is 0.
    """

    max_bad_examples: NonNegativeInt = 100
    """With `quarantine`: maximum number of bad images per split. The lower limit applies."""

    def __post_init__(self) -> None:
        if self.placement.name != "shared" and self.source.name != "records":
            raise ValueError(f"source.name records with placement {self.placement.name}")
        if self.placement.name != "shared" and self.labelled_fraction < 1:
            raise ValueError("placement shared with labelled_fraction below 1")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Train:
    """Number of epochs and training settings."""

    global_batch_size: PositiveInt = 64
    """Examples per optimizer update, over all ranks and accumulated passes."""

    num_epochs: PositiveInt | None = None
    """Epochs: passes over the training split. Set either this or `num_steps`."""

    num_steps: PositiveInt | None = None
    """Steps: optimizer updates. Set either this or `num_epochs`."""

    gradient_accumulation_steps: PositiveInt = 1
    """Backward passes per step. More passes need less memory for the same global batch."""

    last_batch: Literal["drop", "weighted"] = "drop"
    """How the examples of an epoch that do not fill a global batch are handled.

    `drop`: they are not used; which ones varies by epoch. `weighted`: the batch is padded with
    images of weight 0 and the others are weighted such that the gradient is their mean.
    """

    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Keras dtype policy: the dtype that layers compute in. Weights are always float32."""

    compile: Literal["none", "xla"] = "none"
    """Whether the forward and backward pass are compiled with XLA.

    `xla`: for GPUs; on CPUs, convolutions are slower. Gradients are reduced outside of what is
    compiled. Not with synchronised batch normalisation.
    """

    seed: Seed = 0
    """Seed of the initial weights, the order of the examples and the augmentation."""

    determinism: bool = False
    """Whether weights and metrics are bitwise the same in every run on the same number of ranks.

    Uses deterministic operations of TensorFlow and reductions in a fixed order, without
    autotuning: slower, see docs/benchmarks.md. Also holds for a run that is killed and continued,
    on machines of the same kind with the same versions and numbers of threads. Without it, the
    order of the examples and the augmentation are the same, and losses equal within rounding.
    """

    recalibration_batches: NonNegativeInt = 0
    """Batches per rank for recomputing the moving statistics of batch normalisation after training.

    They become the plain mean over these batches. 0 keeps the moving statistics.
    """

    class_weights: Literal["none", "balanced"] = "none"
    """Class weights in the loss.

    `balanced`: all classes contribute equally. The weight of a class is
    `num_examples / (num_classes * num_examples_of_class)`, so that the mean over the examples is 1.
    Mixed images have the weighted mean of their classes' weights. Evaluation uses no weights.
    """

    lookahead: Lookahead | None = None
    """Slow weights that the weights are periodically reset to (Lookahead). null for none."""

    ema: Ema | None = None
    """Exponential moving average of the weights, saved as the model of the run. null for none."""

    non_finite: Literal["stop", "skip"] = "stop"
    """How NaN and infinite gradients, on any rank, are handled.

    Such a gradient is never applied. `stop`: all ranks end with one error that names the rank, the
    step and the examples. `skip`: all ranks skip the update; the step still counts for the
    schedule, `metrics.jsonl` reports `skipped_steps`, and 100 skipped steps in a row end the
    run. With `mixed_float16`, infinities that lower the loss scale trigger neither.
    """

    check_every_steps: NonNegativeInt = 100
    """Steps between two comparisons of weights and optimizer state across ranks.

    0 compares only at the start and at the end.
    """

    def __post_init__(self) -> None:
        if (self.num_epochs is None) == (self.num_steps is None):
            raise ValueError("exactly one of num_epochs and num_steps (null unsets one)")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RunConfig:
    """One complete training run."""

    data: Data
    """The images and how they are read."""

    model: Model = SmallCnn(name="small_cnn")
    """The network."""

    optimizer: Optimizer = AdamW(name="adamw")
    """The optimizer."""

    schedule: Schedule = CosineSchedule(
        name="cosine", base_learning_rate=0.001, base_batch_size=64, scaling="square_root"
    )
    """The learning-rate schedule."""

    train: Train = Train(num_epochs=10)
    """Number of epochs and training settings."""

    pretraining: Reconstruction | None = None
    """Unsupervised training before supervised training. null for none."""

    augment: tuple[Augmentation, ...] = ()
    """Random augmentations of the training images, applied in this order."""

    loss: Loss = CrossEntropy()
    """The loss that training minimises."""

    gradient_clipping: GradientClipping = NoClipping()
    """How gradients are clipped after the reduction over all ranks."""

    fine_tuning: FineTuning = FineTuning()
    """How a pretrained network is fine-tuned."""

    synchronization: Synchronization = Synchronization()
    """How gradients and batch statistics are combined across ranks."""

    evaluation: Evaluation = Evaluation()
    """How the held-out split is evaluated."""

    logging: Logging = Logging()
    """TensorBoard files and the report."""

    callbacks: tuple[Callback, ...] = ()
    """Callbacks that run after every epoch."""

    checkpoint: Checkpoint | None = Checkpoint()
    """When the state of the run is saved, so that the same command continues it. null for none."""

    watchdog: Watchdog | None = Watchdog()
    """How long a rank may take for one thing before the whole run ends. null for no limits."""

    run_dir: str | None = None
    """The run directory. Defaults to `runs/<pipeline>-<n>` with the first free n."""
