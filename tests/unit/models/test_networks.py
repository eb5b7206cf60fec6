"""What holds for every network of this package."""

import keras
import numpy as np
import pytest

from hvd_imgcls.config.models import Cae, CifarResNet, FastCnn, PlainCnn, ResNet, SmallCnn, Vit
from hvd_imgcls.models import MODELS, build_model
from hvd_imgcls.models.multiply_adds import count_multiply_adds
from tests.unit.models.precision import precision

TINY = {
    "small_cnn": SmallCnn(name="small_cnn", num_filters=(2, 3), num_hidden_units=4),
    "plain_cnn": PlainCnn(name="plain_cnn", num_filters=(2, 3), dropout=0.5),
    "fast_cnn": FastCnn(name="fast_cnn", num_filters=(3, 4, 5)),
    "cae": Cae(name="cae", num_filters=(2, 3, 4), features="flatten"),
    "vit": Vit(name="vit", patch_size=3, width=8, depth=1, num_heads=2, dropout=0.1),
    "resnet20": CifarResNet(name="resnet20"),
    "resnet18": ResNet(name="resnet18", stem="small"),
    "resnet50": ResNet(name="resnet50"),
}
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 1), dtype=np.uint8)


def build(name):
    keras.utils.set_random_seed(5)
    return build_model(TINY[name], (24, 24, 1), 3)


def test_every_network_has_a_tiny_one_here():
    families = {type(entry.section()) for entry in MODELS.values() if entry.section is not None}
    assert {type(section) for section in TINY.values()} == families


@pytest.mark.parametrize("name", TINY)
def test_logits_are_float32_and_one_for_each_class_in_mixed_precision(name):
    with precision("mixed_bfloat16"):
        model = build(name)
    logits = model(IMAGES)
    assert (logits.shape, logits.dtype) == ((2, 3), "float32")
    assert np.isfinite(logits).all()
    assert {str(weight.dtype) for weight in model.trainable_weights} == {"float32"}
    computing = {layer.compute_dtype for layer in model._flatten_layers() if layer.weights}
    assert "bfloat16" in computing


# resnet50 has the same layers as resnet18, and many of them.
@pytest.mark.parametrize("name", [name for name in TINY if name != "resnet50"])
def test_saved_network_is_plain_keras_and_its_weights_come_from_the_seed(name, tmp_path):
    model = build(name)
    assert "hvd_imgcls" not in model.to_json()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
    again = build(name)
    for one, other in zip(model.trainable_weights, again.trainable_weights, strict=True):
        np.testing.assert_array_equal(one, other)


# Parameters that training changes and multiply-adds, as published. For 32-pixel images: He et
# al. 2015, table 6 (0.27 M, 0.46 M, 0.85 M), and 41 M multiply-adds for 20 layers. For
# photographs: torchvision 0.20, which documents both (resnet50 is version 1.5).
PUBLISHED = {
    "resnet20": (269_722, 40.6e6),
    "resnet32": (464_154, 69e6),
    "resnet56": (853_018, 125.5e6),
    "resnet18": (11_689_512, 1.814e9),
    "resnet34": (21_797_672, 3.664e9),
    "resnet50": (25_557_032, 4.089e9),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_residual_networks_have_the_published_size(name):
    entry = MODELS[name]
    shape = (entry.image_size, entry.image_size, 3)
    model = build_model(entry.section(), shape, entry.num_classes)
    num_parameters, multiply_adds = PUBLISHED[name]
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == num_parameters
    assert count_multiply_adds(model) == pytest.approx(multiply_adds, rel=3e-3)


@pytest.mark.parametrize(("zero_gamma", "first"), [(True, 0.0), (False, 1.0)])
def test_zero_gamma_is_that_of_the_last_normalisation_of_each_block(zero_gamma, first):
    model = build_model(ResNet(name="resnet18", zero_gamma=zero_gamma), (32, 32, 3), 2)
    gammas = {
        layer.name: float(np.asarray(layer.gamma)[0])
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    last = {name: gamma for name, gamma in gammas.items() if name.endswith("_2_bn")}
    assert len(last) == 8
    assert set(last.values()) == {first}
    assert {gamma for name, gamma in gammas.items() if name not in last} == {1.0}


def test_resnet50_halves_the_image_in_the_3_by_3_convolution():
    model = build_model(ResNet(name="resnet50"), (32, 32, 3), 2)
    convolutions = {
        layer.name: (layer.kernel_size[0], layer.strides[0])
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    }
    assert convolutions["stage_2_1_1_conv"] == (1, 1)
    assert convolutions["stage_2_1_2_conv"] == (3, 2)
    halving = [name for name, (_, strides) in convolutions.items() if strides == 2]
    assert len(halving) == 1 + 2 * 3  # the stem; 3 by 3 and shortcut of three stages


def test_small_stem_leaves_the_image_as_large_as_it_is():
    model = build_model(TINY["resnet18"], (32, 32, 3), 2)
    assert model.get_layer("stage_1_1_relu").output.shape == (None, 32, 32, 64)
    assert model.get_layer("stage_4_2_relu").output.shape == (None, 4, 4, 512)


def test_shortcut_of_option_a_takes_every_second_pixel_and_adds_channels_of_0():
    model = build_model(TINY["resnet20"], (9, 9, 1), 2)
    model.get_layer("stage_2_1_2_bn").gamma.assign(np.zeros(32, np.float32))
    ends = [model.get_layer(name).output for name in ("stage_1_3_relu", "stage_2_1_relu")]
    images = IMAGES[:, :9, :9]
    before, after = (np.asarray(part) for part in keras.Model(model.inputs[0], ends)(images))
    np.testing.assert_array_equal(after[..., 8:24], before[:, ::2, ::2])
    assert not after[..., :8].any()
    assert not after[..., 24:].any()
