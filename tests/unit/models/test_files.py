"""Models of others: from a file, and handed over in Python."""

import keras
import numpy as np
import pytest

from hvd_imgcls.config.model_files import require_files
from hvd_imgcls.config.models import KerasFile
from hvd_imgcls.config.normalization import ImageNetStatistics
from hvd_imgcls.errors import CheckpointError, ConfigError
from hvd_imgcls.models import accept_given_model, build_model
from hvd_imgcls.models.files import digests_of_files
from hvd_imgcls.models.normalization import make_normalization
from tests.unit.models.precision import precision

layers = keras.layers
SHAPE = (6, 6, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)


def stack(*last, shape=SHAPE):
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            *last,
        ]
    )


def build(model, path, num_classes=5, **keys):
    model.save(path)
    config = KerasFile(name="keras_file", path=str(path), **keys)
    return build_model(config, SHAPE, num_classes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "other.keras"


def functional(shape=SHAPE):
    images = keras.Input(shape)
    features = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    return keras.Model(images, layers.Activation("softmax")(layers.Dense(5)(features)))


def operation():
    images = keras.Input(SHAPE)
    features = layers.Dense(5)(layers.Flatten()(layers.Rescaling(1 / 255)(images)))
    return keras.Model(images, keras.ops.softmax(features))


def nested():
    images = keras.Input(SHAPE)
    inner = keras.Sequential(
        [keras.Input((4, 4, 2)), layers.Flatten(), layers.Dense(5), layers.Softmax()]
    )
    return keras.Model(images, inner(layers.Conv2D(2, 3)(layers.Rescaling(1 / 255)(images))))


WITH_SOFTMAX = {
    "in the layer": lambda: stack(layers.Dense(5, activation="softmax")),
    "without a bias": lambda: stack(layers.Dense(5, activation="softmax", use_bias=False)),
    "a layer": lambda: stack(layers.Dense(5), layers.Softmax()),
    "in float32": lambda: stack(
        layers.Dense(5), layers.Activation("linear"), layers.Softmax(dtype="float32")
    ),
    "functional": functional,
    "an operation": operation,
    "in an inner model": nested,
    "after a convolution": lambda: keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Rescaling(1 / 255),
            layers.Conv2D(5, 3),
            layers.GlobalAveragePooling2D(),
            layers.Softmax(),
        ]
    ),
}


@pytest.mark.parametrize("kind", WITH_SOFTMAX)
def test_softmax_at_the_end_is_taken_off_and_the_rest_is_kept(kind, path, caplog):
    given = WITH_SOFTMAX[kind]()
    with caplog.at_level("INFO"):
        model = build(given, path)
    logits = np.asarray(model(IMAGES))
    assert np.abs(logits.sum(axis=-1) - 1).max() > 1e-3
    np.testing.assert_allclose(keras.ops.softmax(logits), given(IMAGES), rtol=1e-4)
    assert f"{path}: the softmax" in caplog.text


def test_head_for_other_classes_is_replaced_and_the_rest_is_kept(path, caplog):
    given = stack(layers.Dense(8, activation="relu"), layers.Dense(7, activation="softmax"))
    with caplog.at_level("INFO"):
        model = build(given, path)
    assert model.output_shape == (None, 5)
    assert "with 7 units is replaced by a new one with 5" in caplog.text
    for ours, theirs in zip(model.weights[:-2], given.weights[:-2], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("replace_head", "is_kept"), [("auto", True), ("never", True), ("always", False)]
)
def test_head_for_as_many_classes_is_kept_unless_it_is_to_be_replaced(replace_head, is_kept, path):
    given = stack(layers.Dense(5))
    model = build(given, path, replace_head=replace_head)
    assert np.array_equal(model.weights[-2], given.weights[-2]) == is_kept
    if is_kept:
        np.testing.assert_allclose(model(IMAGES), given(IMAGES), rtol=1e-5)


def lambda_model():
    return stack(layers.Dense(5), layers.Lambda(lambda logits: logits * 2))


def hidden_softmax():
    return stack(layers.Dense(5), layers.Softmax(), layers.Reshape((5,)))


def two_outputs():
    images = keras.Input(SHAPE)
    flat = layers.Flatten()(images)
    return keras.Model(images, [layers.Dense(5)(flat), layers.Dense(5)(flat)])


@pytest.mark.parametrize(
    ("make", "keys", "said"),
    [
        (lambda_model, {}, r"contains code that would be run; .* train\(config, model=\.\.\.\)"),
        (hidden_softmax, {}, "outputs are probabilities"),
        (two_outputs, {}, "1 inputs and 2 outputs"),
        (lambda: stack(layers.Dense(5, activation="sigmoid")), {}, "ends in sigmoid"),
        (lambda: stack(layers.Dense(7)), {"replace_head": "never"}, r"\(None, 7\).* 5 classes"),
        (lambda: stack(layers.Dense(7), layers.ReLU()), {}, "last layer is ReLU"),
        (
            lambda: stack(layers.Dense(5), shape=(8, 8, 3)),
            {},
            r"inputs \(None, 8, 8, 3\), but the images are \(None, 6, 6, 3\)",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_file_that_gives_no_logits_is_refused_by_name(make, keys, said, path):
    with pytest.raises(CheckpointError, match=f"other.keras: .*{said}"):
        build(make(), path, **keys)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.keras", b"no model", "not a model"),
        ("a.h5", b"", "not a .keras"),
        ("b.keras", None, "no such"),
    ],
)
def test_file_that_is_no_model_is_refused_by_name(name, content, said, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    config = KerasFile(name="keras_file", path=str(tmp_path / name))
    with pytest.raises(CheckpointError, match=f"{name}: .*{said}"):
        build_model(config, SHAPE, 5)


def test_model_for_images_of_any_size_takes_ours(path):
    model = build(stack(layers.Dense(5), shape=(None, None, 3)), path)
    assert model(IMAGES).shape == (3, 5)


def test_normalization_is_put_in_front_of_a_model_that_needs_it(path, caplog):
    images = keras.Input(SHAPE)
    given = keras.Model(images, layers.Dense(5)(layers.Flatten()(images)))
    given.save(path)
    statistics = ImageNetStatistics(name="imagenet")
    config = KerasFile(name="keras_file", path=str(path), normalization_in_model=False)
    model = build_model(config, SHAPE, 5, statistics)
    expected = given(make_normalization(statistics, 3)(IMAGES))
    np.testing.assert_allclose(model(IMAGES), expected, rtol=1e-3, atol=1e-4)
    model.save(path.with_name("again.keras"))
    loaded = keras.saving.load_model(path.with_name("again.keras"), safe_mode=True)
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
    assert "normalises" not in caplog.text
    build(given, path)
    assert "none of its layers normalises pixels" in caplog.text


def test_layers_of_a_file_compute_in_the_precision_of_the_run(path):
    given = stack(layers.Dense(5))
    with precision("mixed_bfloat16"):
        model = build(given, path)
    assert {layer.compute_dtype for layer in model.layers[2:-1]} == {"bfloat16"}
    logits = model(IMAGES)
    assert logits.dtype == "float32"
    np.testing.assert_allclose(logits, given(IMAGES), atol=0.02)


def test_model_of_a_file_in_this_precision_keeps_its_float32_layers(path):
    with precision("mixed_bfloat16"):
        given = stack(layers.LayerNormalization(dtype="float32"), layers.Dense(7))
        model = build(given, path)
    kinds = {type(layer).__name__: layer.compute_dtype for layer in model.layers}
    assert (kinds["LayerNormalization"], kinds["Conv2D"]) == ("float32", "bfloat16")


def test_ranks_compare_the_files_by_their_content(path):
    config = KerasFile(name="keras_file", path=str(path))
    with pytest.raises(CheckpointError, match=r"other\.keras: no such file.*model\.path"):
        require_files(config)
    assert digests_of_files(config) == {str(path): "(cannot be read)"}
    path.write_bytes(b"1")
    require_files(config)
    one = digests_of_files(config)
    path.write_bytes(b"2")
    assert one != digests_of_files(config)


class Subclassed(keras.Model):
    def __init__(self, num_classes, activation=None):
        super().__init__()
        self.rescaling, self.flatten = layers.Rescaling(1 / 255), layers.Flatten()
        self.classify = layers.Dense(num_classes, activation=activation)

    def call(self, images):
        return self.classify(self.flatten(self.rescaling(images)))


@pytest.mark.parametrize("make", [lambda: stack(layers.Dense(5)), lambda: Subclassed(5)])
def test_given_model_that_fits_is_taken_as_it_is_and_built(make):
    model = make()
    assert accept_given_model(model, SHAPE, 5, "float32") is model
    assert len(model.trainable_variables) >= 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: "resnet20", "got 'str', expected a keras.Model"),
        (lambda: stack(layers.Dense(5), shape=(8, 8, 3)), r"inputs \(None, 8, 8, 3\)"),
        (lambda: stack(layers.Dense(7)), r"outputs \(None, 7\)"),
        (lambda: Subclassed(7), r"outputs \(None, 7\)"),
        (lambda: stack(layers.Dense(5, activation="softmax")), "ends in softmax"),
        (lambda: stack(layers.Dense(5, activation="sigmoid")), "ends in sigmoid"),
        (operation, "ends in softmax"),
        (lambda: Subclassed(5, "softmax"), "ends in probabilities"),
        (lambda: stack(layers.Dense(5, dtype="float16")), "float16 outputs"),
        (two_outputs, "several outputs"),
        (
            lambda: keras.Sequential([layers.Conv2D(2, 9), layers.Flatten(), layers.Dense(5)]),
            "fails on uint8 images",
        ),
    ],
)
def test_given_model_that_does_not_fit_is_refused(make, said):
    with pytest.raises(ConfigError, match=f"^model: .*{said}"):
        accept_given_model(make(), SHAPE, 5, "float32")


def test_given_model_in_another_precision_is_refused():
    with pytest.raises(ConfigError, match=r"train\.precision: got 'mixed_bfloat16'.*float32"):
        accept_given_model(stack(layers.Dense(5)), SHAPE, 5, "mixed_bfloat16")
