"""A prepared dataset of TensorFlow Datasets as a source of images."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hvd_imgcls.config.data.sources import TfdsSource
from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.data.sources.byte_ranges import PackedImages
from hvd_imgcls.data.sources.tfrecord.files import require_all_shards, require_different_files
from hvd_imgcls.data.sources.tfrecord.source import TfRecords, index_of_splits
from hvd_imgcls.errors import ConfigError, DataError, SetupError

OWN_DATASET = "hvd_digits"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def open_tfds(config: TfdsSource) -> PackedImages:
    """Returns the images of a prepared dataset, in TFRecord or ArrayRecord files.

    Raises:
        SetupError: If `tensorflow-datasets` is not installed.
        ConfigError: If the dataset, split or feature does not exist.
        DataError: If a file is missing or damaged.
    """
    # Otherwise it accesses the network to find out where it runs.
    os.environ.setdefault("NO_GCE_CHECK", "true")
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise SetupError(
            "data.source.name tfds requires the package tensorflow-datasets",
            fix="pip install 'hvd_imgcls[tfds]'",
        ) from error
    data_dir = Path(config.data_dir).expanduser()
    if config.dataset.split(":")[0] == OWN_DATASET:
        from hvd_imgcls.data.sources.tfds.hvd_digits import write_digits

        if not any((data_dir / OWN_DATASET).glob("*/dataset_info.json")):
            write_digits(data_dir)
    folder = _folder_of(config.dataset, data_dir)
    info = tfds.builder_from_directory(folder).info
    split_names: dict[Split, str] = {
        "train": config.train_split,
        "held_out": config.held_out_split,
    }
    class_names = _names_of(info, config)
    files = {split: _files_of(info, name, split) for split, name in split_names.items()}
    require_different_files(files, "data.source.held_out_split", config.held_out_split)
    tables_of = index_of_splits(files, folder, config)
    for split, name in split_names.items():
        number = sum(table.num_rows for table in tables_of[split])
        if number != info.splits[name].num_examples:
            raise DataError(
                f"{folder}: {number:,} records in split {name}, but dataset_info.json says "
                f"{info.splits[name].num_examples:,}; prepare or copy the dataset again"
            )
    if info.file_format.value == "array_record":
        from hvd_imgcls.data.sources.tfrecord.array_record import ArrayRecords

        return ArrayRecords(files, tables_of, class_names=class_names, image_key=config.image_key)
    return TfRecords(files, tables_of, class_names=class_names)


def _folder_of(dataset: str, data_dir: Path) -> Path:
    """Returns the folder of a version; of the newest if none is given."""
    name, _, version = dataset.partition(":")
    versions = [
        path.name
        for path in (data_dir / name).glob("*")
        if _VERSION.fullmatch(path.name) and (path / "dataset_info.json").exists()
    ]
    if versions and version in ("", *versions):
        newest = max(versions, key=lambda text: [int(part) for part in text.split(".")])
        return data_dir / name / (version or newest)
    raise ConfigError(
        "data.source.dataset",
        got=dataset,
        expected=f"a dataset in {data_dir}"
        + (f", where {name} has version {', '.join(sorted(versions))}" if versions else ""),
        fix=f"prepare it, for example with `tfds build {name} --data_dir {data_dir}`, or correct "
        "data.source.data_dir",
    )


def _files_of(info: Any, name: str, split: Split) -> list[Path]:
    if name not in info.splits:
        raise ConfigError(
            f"data.source.{split}_split",
            got=name,
            expected=f"one of {', '.join(info.splits)}",
            fix="correct it",
        )
    if info.file_format.value not in ("tfrecord", "array_record"):
        raise ConfigError(
            "data.source.dataset",
            got=f"files of format {info.file_format.value}",
            expected="tfrecord or array_record",
            fix="prepare the dataset in one of these formats",
        )
    files = [Path(path) for path in info.splits[name].filepaths]
    missing = next((file for file in files if not file.exists()), None)
    if missing is not None:
        raise DataError(f"{missing}: missing; prepare or copy the dataset again")
    require_all_shards(files)
    return files


def _names_of(info: Any, config: TfdsSource) -> list[str] | None:
    for key, name in (("image_key", config.image_key), ("label_key", config.label_key)):
        if name not in info.features:
            raise ConfigError(
                f"data.source.{key}",
                got=name,
                expected=f"one of {', '.join(sorted(info.features))}",
                fix="correct it",
            )
    feature = info.features[config.label_key]
    names = getattr(feature, "names", None)
    return list(names) if names else None
