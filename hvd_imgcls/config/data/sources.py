"""The image sources that a pipeline selects by `name`."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import (
    STRICT,
    NonEmptyStr,
    NonNegativeInt,
    OpenFraction,
    Seed,
)


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class DigitsSource:
    """1,797 scanned handwritten digits of 8 by 8 pixels, included in scikit-learn."""

    name: Literal["digits"]
    """Name of the source."""

    held_out_fraction: OpenFraction = 0.2
    """Fraction of the images of every class that is held out for evaluation."""

    split_seed: Seed = 0
    """Seed of the random split."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ImageFolderSource:
    """Image files in one folder per class, such as `cats/1.jpg` and `dogs/1.jpg`.

    The classes are the folder names in byte order. Subfolders of a class folder belong to the
    class.
    """

    name: Literal["image_folder"]
    """Name of the source."""

    path: NonEmptyStr
    """The folder with the class folders or, with the next two keys, with the split folders.

    `~` is the home directory.
    """

    train_folder: NonEmptyStr | None = None
    """Subfolder of `path` with the training images, such as `train`. Requires the next key."""

    held_out_folder: NonEmptyStr | None = None
    """Subfolder of `path` with the held-out images, such as `val` or `test`."""

    held_out_fraction: OpenFraction = 0.2
    """Without split folders: fraction of every class that is held out for evaluation."""

    split_seed: Seed = 0
    """Without split folders: seed of the random split."""

    def __post_init__(self) -> None:
        if (self.train_folder is None) != (self.held_out_folder is None):
            raise ValueError("both train_folder and held_out_folder, or neither")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RecordsSource:
    """Record files written by `hvd-imgcls prepare`, with the splits chosen there."""

    name: Literal["records"]
    """Name of the source."""

    path: NonEmptyStr
    """The folder with the record files. `~` is the home directory."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ManifestSource:
    """Image files listed in a table, CSV or Parquet, with a path and a label per row.

    `hvd-imgcls check-data` writes such a table; images that it found to be bad are left out.
    """

    name: Literal["manifest"]
    """Name of the source."""

    path: NonEmptyStr
    """The table: a `.csv` file with a header, or a `.parquet` file. `~` is the home directory."""

    root: NonEmptyStr | None = None
    """Folder that relative paths in the table refer to. Default: the folder of the table."""

    path_column: NonEmptyStr = "path"
    """Column with the paths of the image files."""

    label_column: NonEmptyStr = "label"
    """Column with the labels: class names, or integers from 0."""

    class_name_column: NonEmptyStr = "class_name"
    """Column with the class names, if the labels are integers. Optional."""

    class_names: tuple[NonEmptyStr, ...] | None = None
    """Class list: a label is an index into it.

    Without it, the list that `check-data` stored in the file, or the column with the class
    names, or all names in the label column in byte order.
    """

    split_column: NonEmptyStr | None = None
    """Column with the split of each image.

    Without it, a column called `split` if there is one, else `held_out_fraction`.
    """

    train_value: NonEmptyStr = "train"
    """Value of the split column for training images."""

    held_out_value: NonEmptyStr = "held_out"
    """Value of the split column for held-out images. Images with other values are ignored."""

    held_out_fraction: OpenFraction = 0.2
    """Without a split column: fraction of every class that is held out for evaluation."""

    split_seed: Seed = 0
    """Without a split column: seed of the random split."""

    slice_columns: tuple[NonEmptyStr, ...] = ()
    """Columns that define slices of the held-out images; metrics are reported for each value."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class TfRecordSource:
    """TFRecord files of `tf.train.Example` protos, such as those of ImageNet.

    All ranks together build an index of all records once and keep it.
    """

    name: Literal["tfrecord"]
    """Name of the source."""

    path: NonEmptyStr
    """The folder with the TFRecord files. `~` is the home directory."""

    train_files: NonEmptyStr = "train-*"
    """Glob pattern of the files with training images, relative to the folder."""

    held_out_files: NonEmptyStr = "validation-*"
    """Glob pattern of the files with held-out images."""

    image_key: NonEmptyStr = "image/encoded"
    """Feature with the encoded image."""

    label_key: NonEmptyStr = "image/class/label"
    """Feature with the label, an integer."""

    first_label: NonNegativeInt = 0
    """The smallest label. In the usual ImageNet files it is 1."""

    class_names_file: NonEmptyStr | None = None
    """Text file with one class name per line, in the order of the labels.

    Without it, the names in the feature `image/class/text`, or else the integers.
    """

    index_dir: NonEmptyStr | None = None
    """Folder for the index. Default: `.hvd-imgcls-index` inside the folder."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class TfdsSource:
    """A dataset of TensorFlow Datasets already on this disk; requires `tensorflow-datasets`."""

    name: Literal["tfds"]
    """Name of the source."""

    dataset: NonEmptyStr
    """Name and version, such as `cifar10:3.0.2` or `my_dataset/config:1.0.0`.

    `hvd_digits:1.0.0` is the digits dataset of scikit-learn, which is written if missing.
    """

    data_dir: NonEmptyStr = "~/tensorflow_datasets"
    """Data directory of TensorFlow Datasets."""

    train_split: NonEmptyStr = "train"
    """Split to train on."""

    held_out_split: NonEmptyStr = "test"
    """Split to evaluate."""

    image_key: NonEmptyStr = "image"
    """Feature with the image."""

    label_key: NonEmptyStr = "label"
    """Feature with the label."""

    index_dir: NonEmptyStr | None = None
    """Folder for the index of the TFRecord files. Default: `.hvd-imgcls-index` next to them."""


Source = Annotated[
    DigitsSource | ImageFolderSource | ManifestSource | RecordsSource | TfRecordSource | TfdsSource,
    pydantic.Field(discriminator="name"),
]
