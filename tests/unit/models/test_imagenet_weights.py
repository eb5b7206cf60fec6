"""ImageNet weights by name: the download, and the model built from it."""

import hashlib
import logging
import sys
import threading
import time

import keras
import numpy as np
import pytest

from hvd_imgcls.config.models import KerasApplication
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.models import build_model, downloading
from hvd_imgcls.models.applications import building
from hvd_imgcls.models.applications.imagenet_download import ImageNetDownload, fetch
from hvd_imgcls.models.applications.imagenet_sources import PublishedFile, published_file
from tests.support.published_weights import WeightsServer, write_published

SHAPE = (32, 32, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of MobileNet in the published format, with random weights."""
    folder = tmp_path_factory.mktemp("published")
    keras.utils.set_random_seed(3)
    for classes, name in ((7, "mobilenet_1_0_224_tf_no_top.h5"), (1000, "mobilenet_1_0_224_tf.h5")):
        file = published_file("MobileNet", SHAPE[:2], classes)
        assert file.name == name
        model = keras.applications.MobileNet(
            weights=None, input_shape=SHAPE, include_top=classes == 1000
        )
        write_published(model, folder / name)
    return folder


@pytest.fixture
def server(folder):
    server = WeightsServer(folder)
    yield server
    server.close()


@pytest.fixture
def keras_folder(monkeypatch, tmp_path):
    """Keras's folder, empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "models"


def serve(monkeypatch, url):
    module = sys.modules[keras.applications.MobileNet.__module__]
    monkeypatch.setattr(module, "BASE_WEIGHT_PATH", url)


def section(**keys):
    keys = {"application": "MobileNet", "weights": "imagenet", **keys}
    return KerasApplication(name="keras_application", **keys)


@pytest.mark.parametrize("num_classes", [5, 1000])
def test_weights_are_downloaded_once_and_the_head_is_new_except_for_1000_classes(
    monkeypatch, server, folder, keras_folder, capsys, caplog, num_classes
):
    serve(monkeypatch, server.url)
    with caplog.at_level(logging.INFO):
        model = build_model(section(), SHAPE, num_classes)
    again = build_model(section(), SHAPE, num_classes)
    (name,) = server.requested
    assert (keras_folder / name).read_bytes() == (folder / name).read_bytes()
    assert capsys.readouterr().out == ""
    assert ("that of ImageNet" in caplog.text) == (num_classes == 1000)
    theirs = keras.applications.MobileNet(
        weights=folder / name, input_shape=SHAPE, include_top=num_classes == 1000
    )
    count = len(theirs.weights)
    for ours, same, expected in zip(
        model.weights[:count], again.weights[:count], theirs.weights, strict=True
    ):
        np.testing.assert_array_equal(np.ravel(ours), np.ravel(expected))
        np.testing.assert_array_equal(ours, same)
    assert len(model.weights) == count + (0 if num_classes == 1000 else 2)


def test_file_that_was_placed_by_hand_is_used_without_a_network(monkeypatch, folder, keras_folder):
    serve(monkeypatch, "http://127.0.0.1:1/")
    keras_folder.mkdir()
    name = "mobilenet_1_0_224_tf_no_top.h5"
    (keras_folder / name).write_bytes((folder / name).read_bytes())
    assert build_model(section(), SHAPE, 5).output_shape == (None, 5)


def test_missing_network_is_an_error_that_says_which_file_to_place_where(monkeypatch, keras_folder):
    serve(monkeypatch, "http://127.0.0.1:1/")
    with pytest.raises(CheckpointError) as raised:
        build_model(section(), SHAPE, 5)
    text = str(raised.value)
    assert text.startswith("model.weights: imagenet: mobilenet_1_0_224_tf_no_top.h5 cannot be down")
    assert "http://127.0.0.1:1/mobilenet_1_0_224_tf_no_top.h5" in text
    assert "Connection refused" in text
    assert f"copy it to {keras_folder / 'mobilenet_1_0_224_tf_no_top.h5'}" in text
    assert [path.name for path in keras_folder.iterdir()] == [
        ".mobilenet_1_0_224_tf_no_top.h5.lock"
    ]


def small(folder, server, *, right_hash=True):
    """A small file with a hash."""
    (folder / "small.h5").write_bytes(b"small" * 4000)
    text = b"small" * 4000 if right_hash else b"other"
    md5 = hashlib.md5(text, usedforsecurity=False).hexdigest()
    return PublishedFile(name="small.h5", url=f"{server.url}small.h5", hash=md5)


def test_file_with_another_hash_is_replaced(folder, server, tmp_path, caplog):
    (tmp_path / "small.h5").write_bytes(b"damaged")
    path = fetch(small(folder, server), tmp_path)
    assert path.read_bytes() == b"small" * 4000
    assert f"{path}: not the published file, by its hash; replacing it" in caplog.text


def test_file_with_another_hash_is_kept_and_named_if_it_cannot_be_replaced(
    folder, server, tmp_path
):
    file = small(folder, server, right_hash=False)
    (tmp_path / "small.h5").write_bytes(b"mine")
    with pytest.raises(CheckpointError, match=r"small\.h5 is not the published file") as raised:
        fetch(file, tmp_path)
    assert "Incomplete or corrupted file detected" in str(raised.value)
    assert (tmp_path / "small.h5").read_bytes() == b"mine"
    assert not (tmp_path / ".small.h5.partial").exists()


@pytest.mark.parametrize("has_hash", [True, False])
def test_download_that_is_cut_off_leaves_nothing(folder, server, tmp_path, has_hash):
    file = small(folder, server)
    if not has_hash:
        file = PublishedFile(name=file.name, url=file.url, hash=None)
    server.cuts = True
    with pytest.raises(CheckpointError, match=r"retrieval incomplete: got only 10000 out of 20000"):
        fetch(file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".small.h5.lock"]


def test_file_has_its_name_only_when_it_is_complete_and_a_second_process_waits(
    folder, server, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(downloading, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(downloading.Pace, "is_due", lambda _: True)
    file = small(folder, server)
    # What a killed process leaves.
    (tmp_path / ".small.h5.partial").write_bytes(b"small")
    server.hold.clear()
    first = ImageNetDownload(file, tmp_path)
    first.start()
    while not first.progress.num_bytes:
        time.sleep(0.01)
    assert not first.path.exists()
    with caplog.at_level(logging.INFO):
        second = threading.Thread(target=fetch, args=(file, tmp_path))
        second.start()
        while "waiting for another process" not in caplog.text:
            time.sleep(0.01)
    server.hold.set()
    second.join()
    assert first.path.read_bytes() == b"small" * 4000
    assert server.requested == ["small.h5"]
    assert first.check().phase == "done"
    assert first.progress.total_bytes == 20000


def test_silent_server_is_given_up(folder, server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "SILENCE_SECONDS", 0.3)
    server.hold.clear()
    with pytest.raises(CheckpointError, match="no data for 0 s"):
        fetch(small(folder, server), tmp_path)


def test_damaged_file_without_a_hash_is_an_error_that_says_to_delete_it(monkeypatch, keras_folder):
    serve(monkeypatch, "http://127.0.0.1:1/")
    keras_folder.mkdir()
    path = keras_folder / "mobilenet_1_0_224_tf_no_top.h5"
    path.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=f"{path}: .*delete it, and it is downloaded again"):
        build_model(section(), SHAPE, 5)


# One model of every family whose files lack the top, and whose features are pooled last.
FAMILIES = (
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNetV2",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "Xception",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_those_of_keras_with_the_same_file(monkeypatch, tmp_path, name):
    keras.utils.set_random_seed(5)
    shape = (96, 96, 3)
    bare = getattr(keras.applications, name)(
        weights=None, input_shape=shape, include_top=False, pooling="avg"
    )
    random = np.random.default_rng(0)
    for layer in bare.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Small, since initial convolutions reduce the variance: signals reach the end.
            variance = random.uniform(0.3, 0.7, layer.moving_variance.shape)
            layer.moving_mean.assign(random.uniform(-0.1, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(variance / (5 if name == "MobileNetV2" else 1))
    write_published(bare, tmp_path / "bare.h5")
    monkeypatch.setattr(building, "fetch", lambda *_: tmp_path / "bare.h5")
    model = build_model(section(application=name, dropout=0.0), shape, 5)
    features = keras.Model(model.inputs[0], model.layers[-1].input)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype("float32")
    family = sys.modules[getattr(keras.applications, name).__module__]
    expected = np.asarray(bare(family.preprocess_input(pixels.copy())))
    changes = np.abs(expected[0] - expected[1]).max()
    assert changes > 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(features(pixels), expected, rtol=1e-3, atol=0.01 * changes)
    keras.utils.clear_session()


def test_layers_of_the_top_that_stay_new_are_named_in_a_warning(monkeypatch, tmp_path, caplog):
    bare = keras.applications.MobileNetV3Small(weights=None, input_shape=SHAPE, include_top=False)
    write_published(bare, tmp_path / "bare.h5")
    monkeypatch.setattr(building, "fetch", lambda *_: tmp_path / "bare.h5")
    build_model(section(application="MobileNetV3Small"), SHAPE, 5)
    assert "layers before the last one are new" in caplog.text
    assert "conv_2/kernel, conv_2/bias" in caplog.text
