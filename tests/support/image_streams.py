"""Small pipelines on image files, and their pixels."""

import numpy as np
import yaml

from hvd_imgcls.config import load_config

CROP = {"name": "random_resized_crop"}


SHIFT = {"name": "random_crop", "padding": 2}


def make_config(folder, tmp_path, augment=(CROP, SHIFT), **data):
    source = {"name": "image_folder", "path": str(folder), "held_out_fraction": 0.2}
    if (folder / "dataset.json").exists():
        source = {"name": "records", "path": str(folder)}
    tree = {
        "data": {"source": source, "image_size": 12, **data},
        "augment": list(augment),
        "model": {"name": "small_cnn"},
        "optimizer": {"name": "sgd"},
        "schedule": {"name": "constant", "base_learning_rate": 0.1},
        "train": {"global_batch_size": 8, "num_steps": 8},
        "evaluation": {"block_size": 4},
    }
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(tree))
    return load_config(path)


def assert_equal(arrays, expected):
    for array, wanted in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array, wanted)
