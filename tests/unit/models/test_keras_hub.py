"""Image classifiers of KerasHub, where it is installed: `pip install 'hvd_imgcls[kerashub]'`."""

import json
import sys
import types

import keras
import numpy as np
import pytest

from hvd_imgcls import cli
from hvd_imgcls.config.models import KerasHub
from hvd_imgcls.errors import CheckpointError, ConfigError, SetupError
from hvd_imgcls.models import build_model, keras_hub_presets
from tests.unit.models.precision import precision

SHAPE = (32, 32, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), dtype=np.uint8)
SCALE, OFFSET = [1 / 58.4, 1 / 57.1, 1 / 57.4], [-2.1, -2.0, -1.8]


def build(preset, num_classes=5, shape=SHAPE):
    return build_model(KerasHub(name="keras_hub", preset=str(preset)), shape, num_classes)


def test_model_without_keras_hub_is_an_error_that_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(SetupError, match=r"pip install 'hvd_imgcls\[kerashub\]'"):
        build("vit")


def test_list_without_keras_hub_says_how_to_install_it(monkeypatch, capsys):
    from hvd_imgcls.models import listing

    monkeypatch.setattr(listing, "is_installed", lambda: False)
    monkeypatch.setattr(listing, "MODELS", {})
    assert cli.main(["models"]) == 0
    assert "model.preset, for keras_hub: pip install" in capsys.readouterr().out


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub")


@pytest.fixture(scope="module")
def presets(hub, tmp_path_factory):
    """A convolutional network and a transformer with random weights, for 5 classes."""
    folder = tmp_path_factory.mktemp("presets")
    models = hub.models
    backbone = models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
    )
    converter = hub.layers.ResNetImageConverter(image_size=(48, 48), scale=SCALE, offset=OFFSET)
    preprocessor = models.ResNetImageClassifierPreprocessor(image_converter=converter)
    models.ResNetImageClassifier(backbone, 5, preprocessor).save_to_preset(str(folder / "resnet"))
    backbone = models.ViTBackbone(
        image_shape=SHAPE, patch_size=8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32
    )
    backbone.save_to_preset(str(folder / "backbone"))
    converter = hub.layers.ViTImageConverter(image_size=(32, 32), scale=1 / 127.5, offset=-1)
    preprocessor = models.ViTImageClassifierPreprocessor(image_converter=converter)
    models.ViTImageClassifier(backbone, 5, preprocessor).save_to_preset(str(folder / "vit"))
    return folder


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_model_is_that_of_keras_hub_on_its_pixels(hub, presets, name, tmp_path):
    theirs = hub.models.ImageClassifier.from_preset(str(presets / name))
    scale, offset = (SCALE, OFFSET) if name == "resnet" else (1 / 127.5, -1)
    expected = np.asarray(theirs(PIXELS * np.float32(scale) + np.float32(offset)))
    model = build(presets / name)
    np.testing.assert_allclose(model(PIXELS), expected, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(PIXELS), model(PIXELS))
    assert build(presets / name, num_classes=3)(PIXELS).shape == (2, 3)


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_network_computes_in_the_precision_of_the_run(presets, name):
    expected = np.asarray(build(presets / name)(PIXELS))
    with precision("mixed_bfloat16"):
        model = build(presets / name)
    logits = model(PIXELS)
    assert logits.dtype == "float32"
    kernels = [layer for layer in model._flatten_layers() if hasattr(layer, "kernel")]
    assert {layer.compute_dtype for layer in kernels[1:]} <= {"bfloat16", "float32"}
    assert any(layer.compute_dtype == "bfloat16" for layer in kernels)
    np.testing.assert_allclose(logits, expected, rtol=0.1, atol=0.1)


def test_images_of_another_size_are_refused_unless_the_network_takes_any(presets):
    assert build(presets / "resnet", shape=(40, 40, 3)).input_shape == (None, 40, 40, 3)
    with pytest.raises(ConfigError, match=r"data.image_size: .*\(32, 32, 3\)"):
        build(presets / "vit", shape=(40, 40, 3))


def edited(presets, folder, edit):
    """A copy of a preset with another task.json."""
    for path in (presets / "vit").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tree = json.loads((folder / "task.json").read_text())
    edit(tree)
    (folder / "task.json").write_text(json.dumps(tree))
    return folder


def test_code_in_a_preset_is_not_run(presets, tmp_path, monkeypatch):
    trap = types.ModuleType("trap")
    trap.Trap = type("Trap", (keras.layers.Layer,), {"__init__": lambda *_, **__: 1 / 0})
    monkeypatch.setitem(sys.modules, "trap", trap)
    places = {
        "layer": {"module": "trap", "class_name": "Trap", "config": {}},
        "function": {"module": "os", "class_name": "function", "config": "system"},
        "lambda": {"class_name": "__lambda__", "config": {"value": "4wEA"}},
        "Lambda": {"module": "keras.layers", "class_name": "Lambda", "config": {}},
    }
    for name, place in places.items():
        folder = tmp_path / name
        folder.mkdir()
        edited(presets, folder, lambda tree, place=place: tree["config"].update(more=place))
        with pytest.raises(CheckpointError, match=r"task\.json: names .* would be run"):
            build(folder)


def test_preset_that_does_more_than_scaling_pixels_is_refused(hub, presets, monkeypatch):
    converter = hub.layers.ViTImageConverter
    monkeypatch.setattr(converter, "call", lambda _, images: keras.ops.flip(images, -1))
    with pytest.raises(CheckpointError, match="does more than scaling pixels"):
        build(presets / "vit")


def test_preset_without_a_preprocessor_is_refused(presets):
    with pytest.raises(CheckpointError, match=r"backbone: .*image_converter"):
        build(presets / "backbone")


def test_folder_and_name_without_a_preset_are_refused(hub, tmp_path):
    with pytest.raises(CheckpointError, match="not a preset of an image classifier"):
        build(tmp_path)
    with pytest.raises(CheckpointError, match="absent is neither a directory nor an image class"):
        build("absent")


def test_preset_is_downloaded_under_a_lock_and_else_it_is_said_what_to_do(
    hub, presets, tmp_path, monkeypatch
):
    import kagglehub

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    name = "vit_base_patch16_224_imagenet"
    handles = []
    monkeypatch.setattr(kagglehub, "model_download", lambda h: handles.append(h) or presets / "vit")
    assert keras_hub_presets.preset_folder(name) == presets / "vit"
    assert len(handles) == 1
    assert handles[0].startswith(f"keras/vit/keras/{name}/")

    def refuse(_):
        raise OSError("no network")

    monkeypatch.setattr(kagglehub, "model_download", refuse)
    with pytest.raises(CheckpointError, match=r"\(no network\); download https://www\.kaggle\.com"):
        keras_hub_presets.preset_folder(name)
