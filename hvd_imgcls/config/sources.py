"""The sources of images that a pipeline chooses by `name`."""

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
    """1,797 scanned handwritten digits of 8 by 8 pixels that come with scikit-learn."""

    name: Literal["digits"]
    """Which source this is."""

    held_out_fraction: OpenFraction = 0.2
    """Fraction of the images of every class that is held out of training, for evaluation."""

    split_seed: Seed = 0
    """Seed of the choice which images are held out. Change it for another split."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ImageFolderSource:
    """Image files in one folder per class, such as `cats/1.jpg` and `dogs/1.jpg`.

    The classes are the names of the folders, sorted by their bytes. Folders inside a
    class folder belong to the class.
    """

    name: Literal["image_folder"]
    """Which source this is."""

    path: NonEmptyStr
    """The folder that holds the class folders or, with the next two, the folders of the splits.

    `~` is the home directory.
    """

    train_folder: NonEmptyStr | None = None
    """Folder inside `path` with the training images, such as `train`. Needs the next one too."""

    held_out_folder: NonEmptyStr | None = None
    """Folder inside `path` with the held-out images, such as `val` or `test`."""

    held_out_fraction: OpenFraction = 0.2
    """Without split folders: fraction of every class that is held out, for evaluation."""

    split_seed: Seed = 0
    """Without split folders: seed of the choice which images are held out."""

    def __post_init__(self) -> None:
        if (self.train_folder is None) != (self.held_out_folder is None):
            raise ValueError("train_folder and held_out_folder, or neither")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class RecordsSource:
    """Record files that `hvd-imgcls prepare` wrote, with the splits that they were written with."""

    name: Literal["records"]
    """Which source this is."""

    path: NonEmptyStr
    """The folder of the files. `~` is the home directory."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ManifestSource:
    """Image files listed in a table, CSV or Parquet, with a path and a label in every row.

    What `hvd-imgcls check-data` writes is one: images that it found bad are left out.
    """

    name: Literal["manifest"]
    """Which source this is."""

    path: NonEmptyStr
    """The table: a `.csv` file with a header, or a `.parquet` file. `~` is the home directory."""

    root: NonEmptyStr | None = None
    """Folder that relative paths in the table start from. Without it, the table's own folder."""

    path_column: NonEmptyStr = "path"
    """Column with the image files."""

    label_column: NonEmptyStr = "label"
    """Column with the labels: names of classes, or whole numbers from 0."""

    class_name_column: NonEmptyStr = "class_name"
    """Column with the names of the classes, where labels are numbers. It may be missing."""

    class_names: tuple[NonEmptyStr, ...] | None = None
    """The class list: a label is a position in it.

    Without it the list that `check-data` wrote into the file, or the column with the names,
    or all names in the label column, sorted by their bytes.
    """

    split_column: NonEmptyStr | None = None
    """Column that says which split an image belongs to.

    Without it a column called `split`, and if there is none, `held_out_fraction`.
    """

    train_value: NonEmptyStr = "train"
    """What the split column says of training images."""

    held_out_value: NonEmptyStr = "held_out"
    """What the split column says of held-out images. Images with other values are left out."""

    held_out_fraction: OpenFraction = 0.2
    """Without a split column: fraction of every class that is held out, for evaluation."""

    split_seed: Seed = 0
    """Without a split column: seed of the choice which images are held out."""

    slice_columns: tuple[NonEmptyStr, ...] = ()
    """Columns by whose values the evaluation gives figures of parts of the held-out images."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class TfRecordSource:
    """TFRecord files of `tf.train.Example`, such as those of ImageNet.

    An index of all records is made once, by all ranks together, and kept.
    """

    name: Literal["tfrecord"]
    """Which source this is."""

    path: NonEmptyStr
    """The folder of the files. `~` is the home directory."""

    train_files: NonEmptyStr = "train-*"
    """Pattern of the files with training images, inside the folder."""

    held_out_files: NonEmptyStr = "validation-*"
    """Pattern of the files with held-out images."""

    image_key: NonEmptyStr = "image/encoded"
    """Feature with the encoded image."""

    label_key: NonEmptyStr = "image/class/label"
    """Feature with the label, a whole number."""

    first_label: NonNegativeInt = 0
    """The smallest label. ImageNet's usual files count from 1."""

    class_names_file: NonEmptyStr | None = None
    """Text file with the name of one class in every line, in the order of the labels.

    Without it the feature `image/class/text`, and if there is none, the numbers.
    """

    index_dir: NonEmptyStr | None = None
    """Where the index is kept. Without it, `.hvd-imgcls-index` inside the folder."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class TfdsSource:
    """A dataset of TensorFlow Datasets that is on this disk; needs `tensorflow-datasets`."""

    name: Literal["tfds"]
    """Which source this is."""

    dataset: NonEmptyStr
    """Name and version, such as `cifar10:3.0.2` or `my_dataset/config:1.0.0`.

    `hvd_digits:1.0.0` is the digits of scikit-learn, which are written if they are not there.
    """

    data_dir: NonEmptyStr = "~/tensorflow_datasets"
    """Where TensorFlow Datasets keeps its data."""

    train_split: NonEmptyStr = "train"
    """Name of the split to train on."""

    held_out_split: NonEmptyStr = "test"
    """Name of the split to evaluate."""

    image_key: NonEmptyStr = "image"
    """Feature with the image."""

    label_key: NonEmptyStr = "label"
    """Feature with the label."""

    index_dir: NonEmptyStr | None = None
    """Where the index of TFRecord files is kept. Without it, `.hvd-imgcls-index` beside them."""


Source = Annotated[
    DigitsSource | ImageFolderSource | ManifestSource | RecordsSource | TfRecordSource | TfdsSource,
    pydantic.Field(discriminator="name"),
]
