"""Statistics of the training images have the same digits on any number of ranks."""

import pytest
import yaml

from hvd_imgcls.config import parse_config
from hvd_imgcls.workflows.statistics import compute_statistics, describe_statistics
from tests.support.launch import run_on_ranks
from tests.unit.data.images import write_class_folders

PIPELINE = """
data: {source: {name: image_folder, path: x}, image_size: 12}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 2}
"""


def statistics_here(folder):
    config = parse_config(PIPELINE, [f"--data.source.path={folder}"], origin="x.yaml")
    return compute_statistics(config)


@pytest.mark.ranks(2)
def test_two_ranks_have_the_statistics_of_one(tmp_path):
    write_class_folders(tmp_path, {"cat": 9, "dog": 10})
    (alone,) = run_on_ranks(statistics_here, 1, arguments=(tmp_path,))
    assert alone.num_images == 15
    assert run_on_ranks(statistics_here, 2, arguments=(tmp_path,)) == [alone, alone]
    text = "\n".join(describe_statistics(alone).splitlines()[2:])
    section = yaml.safe_load(text)["normalization"]
    assert section["name"] == "statistics"
    assert section["mean"] == pytest.approx(alone.mean, abs=1e-6)
    assert section["standard_deviation"] == pytest.approx(alone.standard_deviation, abs=1e-6)
