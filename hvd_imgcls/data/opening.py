"""From a configuration to its images."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.augmentations import RandomResizedCrop
from hvd_imgcls.config.placement import Horizontal, Hybrid, Placement
from hvd_imgcls.config.sources import (
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
    """Returns whether counts, labels and names can be had before TensorFlow is loaded."""
    return not isinstance(source, TfRecordSource | TfdsSource)


def open_source(source: Source, placement: Placement | None = None) -> ImageSource:
    """Returns the source that a configuration names.

    Args:
        source: Says where the images are.
        placement: Which ranks see which; all see all when None.

    Raises:
        ConfigError: If there is nothing of this name.
        DataError: If there is something wrong with the data.
    """
    with alike_on_all_ranks():
        return _open(source, placement)


def _open(source: Source, placement: Placement | None) -> ImageSource:
    # Imported only when asked for: reading tables takes a moment to load.
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
    """Returns how many examples every host has; None if every rank sees all."""
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
        config: What the pipeline file says.
        topology: Any rank of the run.
        num_cores: Cores of this host; those that this process may use when None.
        num_classes: Number of classes; those of the source when None.

    Raises:
        ConfigError: If the configuration does not go with the images or the ranks.
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
    """Returns the images of a run, kept in memory if the configuration says so.

    Nothing is decoded yet.

    Args:
        config: What the pipeline file says.
        source: Its source, if it is open already, and placed.
        num_threads: Threads that read and decode for `data.cache`.

    Raises:
        ConfigError: If the size of the images or the first augmentation does not go with
            the source.
        DataError: If there is something wrong with the data.
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
            fix="leave it out: a rank does not have all images",
        )
    if isinstance(source, EncodedSource) and config.data.cache == "encoded":
        return EncodedImages(source, num_threads)
    if crops:
        raise ConfigError(
            "augment.0.name",
            got="random_resized_crop",
            expected="image files that are decoded for every epoch",
            fix="use data.cache none or encoded, or random_crop"
            if isinstance(source, EncodedSource)
            else f"use random_crop with data.source.name {config.data.source.name}",
        )
    if isinstance(source, EncodedSource):
        return DecodedImages(source, config, num_threads)
    return source
