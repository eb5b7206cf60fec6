"""Opens the images that a configuration describes."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.augmentations import RandomResizedCrop
from hvd_imgcls.config.data.placement import Horizontal, Hybrid, Placement
from hvd_imgcls.config.data.sources import (
    DigitsSource,
    ImageFolderSource,
    ManifestSource,
    RecordsSource,
    Source,
    TfdsSource,
    TfRecordSource,
)
from hvd_imgcls.data.caching.decoded import DecodedImages
from hvd_imgcls.data.caching.encoded import EncodedImages
from hvd_imgcls.data.sources.base import EncodedSource, ImageSource
from hvd_imgcls.data.sources.digits import Digits
from hvd_imgcls.data.sources.image_folder import open_image_folder
from hvd_imgcls.data.sources.image_shape import image_shape_of
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import ConfigError, alike_on_all_ranks
from hvd_imgcls.plan import HostShares, Plan, make_plan


def opens_without_tensorflow(source: Source) -> bool:
    """Returns whether counts, labels and names are available without importing TensorFlow."""
    return not isinstance(source, TfRecordSource | TfdsSource)


def open_source(source: Source, placement: Placement | None = None) -> ImageSource:
    """Opens the source of a configuration.

    Args:
        source: The `data.source` section.
        placement: The `data.placement` section; None if all ranks can read all images.

    Raises:
        ConfigError: If the source does not exist.
        DataError: If the data are invalid.
    """
    with alike_on_all_ranks():
        return _open(source, placement)


def _open(source: Source, placement: Placement | None) -> ImageSource:
    # Imported on demand: the libraries that read tables take a moment to load.
    if isinstance(source, DigitsSource):
        return Digits(source.held_out_fraction, source.split_seed)
    if isinstance(source, ImageFolderSource):
        return open_image_folder(source)
    if isinstance(source, ManifestSource):
        from hvd_imgcls.data.sources.manifest import open_manifest

        return open_manifest(source)
    if isinstance(source, RecordsSource):
        return _open_records(Path(source.path).expanduser(), placement)
    if isinstance(source, TfRecordSource):
        from hvd_imgcls.data.sources.tfrecord.source import open_tfrecord

        return open_tfrecord(source)
    from hvd_imgcls.data.sources.tfds.source import open_tfds

    return open_tfds(source)


def _open_records(path: Path, placement: Placement | None) -> ImageSource:
    if isinstance(placement, Horizontal | Hybrid):
        from hvd_imgcls.data.sources.records.host_records import HostRecords

        return HostRecords(path, placement.exchange)
    from hvd_imgcls.data.sources.records.reading import Records

    return Records(path)


def host_shares_of(source: ImageSource, config: RunConfig) -> HostShares | None:
    """Returns how many examples every host has; None if every rank can read all."""
    if source.division is None:
        return None
    return source.division.counts(config.evaluation.block_size)


def make_plan_for(
    source: ImageSource,
    config: RunConfig,
    topology: Topology,
    *,
    num_cores: int | None = None,
    num_classes: int | None = None,
) -> Plan:
    """Returns the plan of a run on opened images.

    Args:
        source: The images.
        config: The configuration.
        topology: Any rank of the run.
        num_cores: Cores of this host. Defaults to those that this process may use.
        num_classes: Number of classes. Defaults to that of the source.

    Raises:
        ConfigError: If the configuration does not suit the images or the ranks.
        DataError: If a split is empty or there are fewer than two classes.
    """
    return make_plan(
        config,
        num_train_examples=source.num_examples("train"),
        num_held_out_examples=source.num_examples("held_out"),
        num_classes=num_classes or len(source.class_names),
        topology=topology,
        num_cores=num_cores,
        hosts=host_shares_of(source, config),
    )


def open_images(
    config: RunConfig, *, source: ImageSource | None = None, num_threads: int = 1
) -> ImageSource:
    """Returns the images of a run, cached in memory if configured.

    Nothing is decoded yet.

    Args:
        config: The configuration.
        source: Its source, if already opened and placed.
        num_threads: Threads that read and decode for `data.cache`.

    Raises:
        ConfigError: If the image size or the first augmentation is incompatible with the
            source.
        DataError: If the data are invalid.
    """
    source = source or open_source(config.data.source, config.data.placement)
    image_shape_of(source, config)
    crops = bool(config.augment) and isinstance(config.augment[0], RandomResizedCrop)
    if isinstance(source, EncodedSource) and config.data.cache == "none":
        return source
    if source.division is not None:
        raise ConfigError(
            "data.cache",
            got=config.data.cache,
            expected=f"none with data.placement.name {config.data.placement.name}",
            fix="omit it: a rank does not have all images",
        )
    if isinstance(source, EncodedSource) and config.data.cache == "encoded":
        return EncodedImages(source, num_threads)
    if crops:
        raise ConfigError(
            "augment.0.name",
            got="random_resized_crop",
            expected="image files that are decoded in every epoch",
            fix="use data.cache none or encoded, or random_crop"
            if isinstance(source, EncodedSource)
            else f"use random_crop with data.source.name {config.data.source.name}",
        )
    if isinstance(source, EncodedSource):
        return DecodedImages(source, config, num_threads)
    return source
