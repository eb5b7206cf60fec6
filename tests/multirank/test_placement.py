"""Images that are divided over hosts: ranks with different folders, one answer."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from hvd_imgcls import distributed
from hvd_imgcls.config import parse_config
from hvd_imgcls.data import host_shares_of, open_source
from hvd_imgcls.data.pipeline.dataset import Start, training_dataset
from hvd_imgcls.data.pipeline.evaluation_dataset import evaluation_dataset
from hvd_imgcls.data.placement.placing import place
from hvd_imgcls.errors import HvdImgclsError
from hvd_imgcls.plan import make_plan
from hvd_imgcls.workflows.prepare import prepare
from tests.support.folders import open_folder
from tests.support.launch import run_on_ranks
from tests.unit.data.images import write_class_folders

PIPELINE = """
data:
  source: {name: records, path: data}
  placement: {name: horizontal, exchange: 0.6}
  image_size: 12
evaluation: {block_size: 4}
augment: [{name: random_resized_crop}, {name: random_flip}]
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 2, last_batch: weighted}
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """Record files, and the folders of two hosts with what each needs of them."""
    root = tmp_path_factory.mktemp("hosts")
    write_class_folders(root / "images", {"cat": 20, "dog": 35})
    prepare(open_folder(root / "images"), root / "data", examples_per_block=4, num_hosts=2)
    for host in range(2):
        (root / f"host-{host}" / "data").mkdir(parents=True)
        copy_files(root, host, root / f"host-{host}")
    return root


def copy_files(root, host, folder):
    names = (root / "data" / f"host-{host:03}-of-002-files.txt").read_text().splitlines()
    for name in names:
        shutil.copy(root / "data" / name, folder / "data" / name)


def stream_here(folder, overrides, start_step=0):
    """Returns what this rank reads, in training and evaluation. Collective."""
    os.chdir(folder)
    config = parse_config(PIPELINE, overrides, origin="x.yaml")
    collectives = distributed.start()
    rank, size = collectives.topology.rank, collectives.topology.size
    source = open_source(config.data.source, config.data.placement)
    source = place(source, config, collectives)
    plan = make_plan(
        config,
        num_train_examples=source.num_examples("train"),
        num_held_out_examples=source.num_examples("held_out"),
        num_classes=len(source.class_names),
        topology=collectives.topology,
        num_cores=2,
        hosts=host_shares_of(source, config),
    )
    dataset = training_dataset(source, config, plan, rank=rank, start=Start(step=start_step))
    batches = [[np.asarray(part) for part in batch] for batch in dataset]
    position = rank if source.division is None else source.division.position_of(rank)
    evaluated = []
    for images, targets, weights in evaluation_dataset(
        source, config, plan.evaluation, rank=rank, size=size, num_threads=1
    ):
        real = np.asarray(weights) > 0
        evaluated += [
            (image.tobytes(), int(target.argmax()))
            for image, target in zip(images.numpy()[real], targets.numpy()[real], strict=True)
        ]
    return position, batches, evaluated


def stream_on(rank_folders, overrides, start_step):
    return stream_here(rank_folders[distributed.start().topology.rank], overrides, start_step)


def together(results):
    """Puts the ranks' parts of every batch together, and what they evaluated in one order."""
    parts = [batches for _, batches, _ in sorted(results, key=lambda result: result[0])]
    steps = [
        [np.concatenate([part[step][i] for part in parts]) for i in range(3)]
        for step in range(len(parts[0]))
    ]
    return steps, sorted(entry for _, _, evaluated in results for entry in evaluated)


def streams_of(folders, *overrides, start_step=0):
    """Returns the stream of ranks with these folders."""
    arguments = ([str(folder) for folder in folders], overrides, start_step)
    return together(run_on_ranks(stream_on, len(folders), arguments=arguments))


def assert_equal_streams(got, expected, start_step=0):
    steps, evaluated = got
    wanted_steps, wanted_evaluated = expected
    assert len(steps) == len(wanted_steps) - start_step
    for step, wanted in zip(steps, wanted_steps[start_step:], strict=True):
        for array, wanted_array in zip(step, wanted, strict=True):
            np.testing.assert_array_equal(array, wanted_array)
    assert evaluated == wanted_evaluated


@pytest.fixture(scope="module")
def alone(hosts):
    """What one rank reads that has the files of both hosts."""
    return streams_of([hosts])


@pytest.mark.ranks(2)
@pytest.mark.parametrize("start_step", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_two_ranks_with_a_part_each_read_what_one_rank_reads(hosts, alone, start_step):
    folders = [hosts / "host-0", hosts / "host-1"]
    assert_equal_streams(streams_of(folders, start_step=start_step), alone, start_step)


@pytest.mark.ranks(2)
def test_ranks_find_their_part_whatever_their_order(hosts, alone):
    assert_equal_streams(streams_of([hosts / "host-1", hosts / "host-0"]), alone)


@pytest.mark.slow
@pytest.mark.ranks(4)
def test_four_ranks_on_two_hosts_read_the_same(hosts, alone):
    folders = [hosts / f"host-{host}" for host in (0, 0, 1, 1)]
    assert_equal_streams(streams_of(folders), alone)


@pytest.mark.ranks(2)
@pytest.mark.parametrize("exchange", [0, 1])
def test_every_image_is_read_once_an_epoch_with_and_without_exchange(hosts, exchange):
    folders = [hosts / "host-0", hosts / "host-1"]
    overrides = [f"--data.placement.exchange={exchange}", "--augment=[]"]
    steps, _ = streams_of(folders, *overrides)
    per_epoch = len(steps) // 2
    for epoch in range(2):
        of_epoch = steps[epoch * per_epoch : (epoch + 1) * per_epoch]
        images = [
            image.tobytes() for pixels, _, weights in of_epoch for image in pixels[weights > 0]
        ]
        assert len(images) == len(set(images)) == 44


def error_on(rank_folders, overrides):
    try:
        stream_here(rank_folders[distributed.start().topology.rank], overrides)
    except HvdImgclsError as error:
        return str(error)


@pytest.mark.ranks(2)
def test_a_missing_file_of_a_host_is_named_on_all_ranks_before_training(hosts, tmp_path):
    (tmp_path / "data").mkdir()
    copy_files(hosts, 1, tmp_path)
    block = next(path for path in (tmp_path / "data").glob("train-*.tfrecord"))
    block.unlink()
    folders = [str(hosts / "host-0"), str(tmp_path)]
    errors = run_on_ranks(error_on, 2, arguments=(folders, ()))
    assert errors[0] == errors[1]
    assert "rank 0 has all files of host 0" in errors[0]
    assert f"rank 1 has no host's complete files; data/{block.name}: No such file" in errors[0]


@pytest.mark.ranks(2)
def test_two_ranks_with_the_same_part_are_refused(hosts):
    folders = [str(hosts / "host-0"), str(hosts / "host-0")]
    errors = run_on_ranks(error_on, 2, arguments=(folders, ()))
    assert errors[0] == errors[1]
    assert "rank 1 has all files of host 0" in errors[0]
    assert "copy to each host the files in its host-...-files.txt" in errors[0]


def write_table(hosts, path, skip=0):
    """Writes another set of labels: the number in the file's name, modulo 3."""
    names = sorted(
        file.relative_to(hosts / "images").as_posix() for file in (hosts / "images").rglob("*.*")
    )
    rows = [f"{name},{'xyz'[number % 3]}" for number, name in enumerate(names)]
    path.write_text("path,label\n" + "\n".join(rows[skip:]) + "\n")


@pytest.mark.ranks(2)
@pytest.mark.slow
def test_labels_of_a_table_that_only_the_root_has(hosts, tmp_path):
    """One rank with all files and its table, and two with a part each: the same stream."""
    root_folder = tmp_path / "root"
    shutil.copytree(hosts / "host-0", root_folder)
    write_table(hosts, root_folder / "labels.csv")
    write_table(hosts, hosts / "labels.csv")
    hybrid = ["--data.placement={name: hybrid, exchange: 0.6, table: labels.csv}"]
    vertical = ["--data.placement={name: vertical, table: labels.csv}"]
    alone = streams_of([hosts], *hybrid)
    assert_equal_streams(streams_of([root_folder, hosts / "host-1"], *hybrid), alone)
    assert alone[0][0][1].shape == (8, 3)
    assert {label for _, label in alone[1]} == {0, 1, 2}
    # The same images have the same labels, in another order.
    assert streams_of([hosts], *vertical)[1] == alone[1]


@pytest.mark.ranks(2)
def test_an_image_without_a_label_is_named(hosts, tmp_path):
    shutil.copytree(hosts / "data", tmp_path / "data")
    write_table(hosts, tmp_path / "labels.csv", skip=2)
    overrides = ("--data.placement={name: vertical, table: labels.csv}",)
    errors = run_on_ranks(error_on, 2, arguments=([str(tmp_path)] * 2, overrides))
    assert errors[0] == errors[1]
    assert "one row per image, but " in errors[0]
    assert "cat/" in errors[0]
