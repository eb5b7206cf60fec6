"""From a configuration to an optimizer, and from a model to the depth of its variables."""

import keras
import pytest

from hvd_imgcls.config import parse_config
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.optimizers import is_kernel, layer_decay_multipliers, layer_groups_of
from hvd_imgcls.optimizers.building import make_optimizer
from hvd_imgcls.optimizers.depth import last_kernel_layer
from hvd_imgcls.optimizers.recipe import build_recipe, unit_axes_of
from tests.support.pipelines import PIPELINE


def config_of(*overrides):
    return parse_config(PIPELINE, overrides, origin="x.yaml")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("{name: sgd, nesterov: true}", {"momentum": 0.9, "nesterov": True, "weight_decay": None}),
        ("{name: sgd, weight_decay: 0.5}", {"weight_decay": 0.5, "nesterov": False}),
        ("{name: sgd, weight_decay: 0.5, weight_decay_kind: l2}", {"weight_decay": None}),
        ("{name: adam, beta_1: 0.5}", {"beta_1": 0.5, "beta_2": 0.999, "weight_decay": None}),
        ("{name: adamw, epsilon: 1e-3}", {"epsilon": 0.001, "weight_decay": 0.004}),
        ("{name: lamb, weight_decay: 0.5}", {"epsilon": 1e-6, "weight_decay": 0.5}),
        (
            "{name: lars, momentum: 0.8, nesterov: true, weight_decay: 0.5, trust_coefficient: 2}",
            {
                "momentum": 0.8,
                "nesterov": True,
                "weight_decay": 0.5,
                "trust_coefficient": 2.0,
                "epsilon": 0.0,
            },
        ),
        (
            "{name: muon, beta_1: 0.8, weight_decay: 0.5, momentum: 0.7, nesterov: false}",
            {
                "adam_beta_1": 0.8,
                "adam_weight_decay": 0.5,
                "weight_decay": 0.5,
                "momentum": 0.7,
                "nesterov": False,
            },
        ),
    ],
)
def test_build_optimizer_takes_every_key_over(words, expected):
    config = config_of("--optimizer", words)
    optimizer = make_optimizer(config.optimizer, 0.25)
    assert type(optimizer).__name__.lower() == config.optimizer.name
    built = optimizer.get_config()
    assert float(built["learning_rate"]) == 0.25
    assert {key: built[key] for key in expected} == expected


def residual(x, filters, name):
    y = keras.layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv")(x)
    y = keras.layers.BatchNormalization(name=f"{name}_norm")(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


@pytest.fixture(scope="module")
def residual_network():
    images = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Conv2D(4, 3, name="stem")(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.BatchNormalization(name="stem_norm")(x)
    x = keras.layers.ReLU(name="stem_relu")(residual(x, 4, "a"))
    inner = keras.Input((6, 6, 4))
    x = keras.Model(inner, residual(residual(inner, 4, "b"), 4, "c"), name="backbone")(x)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, keras.layers.Dense(10, name="logits")(x))


def test_blocks_are_what_lies_between_places_that_every_path_passes(residual_network):
    names = [[layer.name for layer in block] for block in layer_groups_of(residual_network)]
    assert [
        {name for name in block if name.split("_")[-1] in ("stem", "conv", "depthwise", "logits")}
        for block in names
    ] == [{"stem"}, {"a_conv"}, {"b_conv"}, {"c_conv"}, {"depthwise"}, {"logits"}]
    assert "stem_norm" in names[0]
    assert {"a_norm", "a_add", "stem_relu"} <= set(names[1])
    assert "pool" in names[4]


def test_layer_decay_falls_by_block_from_the_last_layer(residual_network):
    multiplier_of = layer_decay_multipliers(residual_network, 0.5)
    by_name = {v.path: multiplier_of(v) for v in residual_network.trainable_variables}
    assert by_name["logits/kernel"] == by_name["logits/bias"] == 1
    assert by_name["depthwise/kernel"] == 0.5
    assert by_name["stem/kernel"] == by_name["stem_norm/gamma"] == 0.5**5
    assert sorted(set(by_name.values())) == [0.5**depth for depth in (5, 4, 3, 2, 1, 0)]


def test_blocks_of_a_sequential_model_are_its_layers_with_kernels():
    layers = [keras.layers.Dense(3), keras.layers.LayerNormalization(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    blocks = [[layer for layer in block if layer.weights] for block in layer_groups_of(model)]
    assert blocks == [layers[:2], layers[2:]]
    assert last_kernel_layer(model) is layers[2]


def test_layer_decay_of_a_model_with_operations_that_are_no_layers():
    images = keras.Input((4, 4, 3))
    features = keras.layers.Conv2D(2, 3, name="stem")(keras.ops.flip(images, -1))[:, 0, 0]
    model = keras.Model(images, keras.layers.Dense(2, name="logits")(features))
    multiplier_of = layer_decay_multipliers(model, 0.5)
    assert {v.path: multiplier_of(v) for v in model.trainable_variables} == {
        "stem/kernel": 0.5,
        "stem/bias": 0.5,
        "logits/kernel": 1,
        "logits/bias": 1,
    }


def test_model_that_does_not_tell_its_order_is_refused():
    class Own(keras.Model):
        def call(self, images):
            return images

    with pytest.raises(ConfigError, match="functional or sequential"):
        layer_groups_of(Own())


def test_kernels_are_told_by_their_own_name_and_shape(residual_network):
    kernels = {v.path for v in residual_network.trainable_variables if is_kernel(v)}
    layers = ("stem", "a_conv", "backbone/b_conv", "backbone/c_conv", "depthwise", "logits")
    assert {path.removeprefix("backbone/") for path in kernels} == {
        f"{layer.removeprefix('backbone/')}/kernel" for layer in layers
    }
    positions = keras.layers.Embedding(4, 3, name="kernel")
    positions.build(())
    assert not is_kernel(positions.embeddings)


def test_units_of_a_depthwise_convolution_are_channels_and_the_last_layer_has_none(
    residual_network,
):
    axes_of = unit_axes_of(residual_network)
    by_name = {v.path.split("/", 1)[0]: axes_of(v) for v in residual_network.weights[::-1]}
    assert by_name["stem"] == (0, 1, 2)
    assert by_name["depthwise"] == (0, 1)
    assert by_name["logits"] is None
    assert by_name["stem_norm"] is None


def test_muon_leaves_the_last_layer_to_adamw():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="dense"), keras.layers.Dense(3, name="den")]
    )
    optimizer = build_recipe(config_of("--optimizer={name: muon}"), 0.1, model, num_steps=10)
    optimizer.build(model.trainable_variables)
    with_adamw = {
        v.path.split("/", 1)[1] for v in model.trainable_variables if optimizer._should_use_adamw(v)
    }
    assert with_adamw == {"dense/bias", "den/kernel", "den/bias"}


@pytest.mark.parametrize(
    ("words", "attribute"),
    [
        ("{name: value, max_value: 0.3}", "clipvalue"),
        ("{name: norm, max_norm: 0.3}", "clipnorm"),
        ("{name: global_norm, max_norm: 0.3}", "global_clipnorm"),
    ],
)
def test_clipping_is_kerass_own_where_keras_has_it(words, attribute):
    config = config_of("--gradient_clipping", words)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    built = build_recipe(config, 0.1, model, num_steps=10).get_config()
    assert built[attribute] == 0.3
