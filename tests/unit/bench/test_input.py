import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hvd_imgcls import cli
from hvd_imgcls.bench.inputs import decoding_arms, order_arms, small_image_arms
from hvd_imgcls.bench.inputs.fit_arms import open_pipeline
from hvd_imgcls.bench.inputs.photographs import (
    link_photographs,
    made_up_photograph,
    write_synthetic,
)
from hvd_imgcls.bench.inputs.synthetic_runs import SyntheticImages
from hvd_imgcls.errors import DataError
from tests.unit.data.images import write_image

PIPELINES = Path(__file__).parents[3] / "pipelines"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made up")
    write_synthetic(folder, 1)
    for number in range(66):
        write_image(folder / f"{number}.jpg", number)
    return folder


@pytest.fixture
def photographs(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding_arms, "LEAST_IMAGES", 128)
    link_photographs(made_up, tmp_path)
    return tmp_path


def test_made_up_photographs_are_like_photographs_and_always_the_same():
    contents = [made_up_photograph(i) for i in range(4)]
    assert contents[:2] == [made_up_photograph(i) for i in range(2)]
    assert len(set(contents)) == 4
    # Photographs of ImageNet: 0.2 million pixels, 110 kB.
    assert 70_000 < np.mean([len(content) for content in contents]) < 160_000
    with Image.open(io.BytesIO(contents[0])) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert 160_000 < image.width * image.height < 260_000


def test_links_are_whole_batches_and_two_held_out_images(made_up, tmp_path):
    assert link_photographs(made_up, tmp_path) == 64
    train = [path.resolve() for path in tmp_path.glob("train/*/*.jpg")]
    held_out = [path.resolve() for path in tmp_path.glob("held_out/*/*.jpg")]
    assert (len(set(train)), len(held_out)) == (64, 2)
    assert not set(train) & set(held_out)
    assert all(path.parent == made_up for path in train)


def test_too_few_photographs_are_an_error_with_the_folder(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}: 0 JPEG files"):
        link_photographs(tmp_path, tmp_path / "links")


@pytest.mark.parametrize("as_floats", [False, True])
def test_our_arm_takes_whole_epochs(photographs, as_floats):
    assert decoding_arms.our_batches(photographs, as_floats=as_floats)() == 128


@pytest.mark.skipif(importlib.util.find_spec("simplejpeg") is None, reason="extra `bench`")
def test_bare_decoding_takes_as_many(photographs):
    assert decoding_arms.bare_decoding(photographs)() == 128


def test_small_image_arms_give_as_many_images_as_they_say(monkeypatch):
    taken = {}
    monkeypatch.setattr(small_image_arms, "_taking", lambda batches, number: (batches, number))
    for name, make in small_image_arms.ARMS.items():
        batches, _ = make()
        taken[name] = [tensor.numpy() for tensor in next(batches)]
    for images, targets in taken.values():
        assert (images.shape, images.dtype) == ((256, 32, 32, 3), np.float32)
        assert targets.shape == (256, 10)
    # The same kind of values: of random pixels, a part of them padding and cutout.
    means = [images.mean() for images, _ in taken.values()]
    assert means[0] == pytest.approx(means[1], abs=0.1)


@pytest.mark.parametrize("arm", ["ours", "shuffle"])
def test_order_arms_give_every_example_once(arm):
    numbers = list(getattr(order_arms, arm)(5 * 256).as_numpy_iterator())
    assert sorted(numbers) == list(range(5 * 256))
    assert numbers != sorted(numbers)


def test_pipelines_of_line_d_have_a_source_without_any_download():
    source, config = open_pipeline(PIPELINES / "cifar10_small_cnn.yaml", None)
    assert isinstance(source, SyntheticImages)
    assert source.images("held_out").shape == (10_000, 32, 32, 3)
    assert config.train.num_epochs == 1_000_000
    digits, _ = open_pipeline(PIPELINES / "digits_cnn.yaml", None)
    assert digits.image_shape == (8, 8, 1)


def test_without_simplejpeg_line_a_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr("hvd_imgcls.bench.inputs.input.importlib.util.find_spec", lambda _: None)
    assert cli.exit_code_of(lambda: cli.main(["bench", "input", "--only", "a"])) == 2
    assert "pip install simplejpeg" in capsys.readouterr().err


def test_line_e_is_measured_and_written_with_its_conditions(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("hvd_imgcls.bench.inputs.input.NUM_EXAMPLES", 1000)
    monkeypatch.setattr(
        "hvd_imgcls.bench.inputs.input._order_of",
        lambda arm, *_, **__: {"cpu": 1 + (arm == "ours"), "megabytes": 2, "first batch": 3},
    )
    out = tmp_path / "numbers.json"
    assert cli.main(["bench", "input", "--only", "e", "--out", str(out)]) == 0
    written = json.loads(out.read_text())
    assert {"cores", "processor", "load_before", "tensorflow"} <= set(written["conditions"])
    result = written["results"]["e, order of 1,000: cpu, ours / shuffle"]
    assert (result["ratio"]["ratio"], result["reached"]) == (2, False)
    assert "MISSED" in capsys.readouterr().out
