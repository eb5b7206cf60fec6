"""The `pretraining` section: unsupervised training before the supervised one."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.optimizers import Optimizer
from hvd_imgcls.config.schedules import Schedule
from hvd_imgcls.config.sections import STRICT, PositiveInt


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Reconstruction:
    """Trains an autoencoder without labels; the classifier then starts from its encoder.

    It minimises the squared error of the pixels (Masci et al. 2011,
    doi 10.1007/978-3-642-21735-7_7) on all training images, including those that
    `data.labelled_fraction` excludes. Requires `model.name: cae`.
    """

    num_epochs: PositiveInt
    """Number of epochs over all training images."""

    optimizer: Optimizer | None = None
    """Its optimizer. null: that of supervised training."""

    schedule: Schedule | None = None
    """Its learning rate. null: that of supervised training."""
