"""Multiply-adds of single layers, counted by hand."""

import keras
import pytest

from hvd_imgcls.models.multiply_adds import count_multiply_adds

layers = keras.layers


def model_of(*stack, shape=(6, 8, 4)):
    return keras.Sequential([keras.Input(shape), *stack])


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(5, 3, padding="same"), 6 * 8 * 5 * 9 * 4),
        (layers.Conv2D(5, (3, 1), strides=2), 2 * 4 * 5 * 3 * 4),
        (layers.Conv2D(6, 1, groups=2), 6 * 8 * 6 * 2),
        (layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), 6 * 8 * 8 * 9),
        (layers.SeparableConv2D(5, 3, padding="same"), 6 * 8 * (9 * 4 + 4 * 5)),
        (layers.Conv2DTranspose(5, 2, strides=2), 6 * 8 * 4 * 4 * 5),
        (layers.Dense(7), 6 * 8 * 4 * 7),
        (layers.EinsumDense("abcd,de->abce", (6, 8, 3)), 6 * 8 * 4 * 3),
        (layers.EinsumDense("...d,de->...e", 3), 6 * 8 * 4 * 3),
        (layers.EinsumDense("abcd,cde->abe", (6, 3)), 6 * 8 * 4 * 3),
        (layers.BatchNormalization(), 0),
        (layers.MaxPooling2D(), 0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_of_one_layer(layer, expected):
    assert count_multiply_adds(model_of(layer)) == expected


def test_of_attention_with_its_projections_and_products():
    queries, values = keras.Input((5, 6)), keras.Input((7, 4))
    attended = layers.MultiHeadAttention(2, 3, value_dim=5)(queries, values)
    projections = 5 * 6 * 6 + 7 * 4 * 6 + 7 * 4 * 10 + 5 * 10 * 6
    products = 5 * 7 * 6 + 5 * 7 * 10
    assert count_multiply_adds(keras.Model([queries, values], attended)) == projections + products


def test_of_shared_and_inner_layers():
    inner = model_of(layers.Dense(4), layers.Dense(4), shape=(4,))
    images = keras.Input((4,))
    dense = layers.Dense(4)
    assert count_multiply_adds(keras.Model(images, inner(dense(dense(images))))) == 4 * 16


def test_of_unknown_shapes_is_refused():
    with pytest.raises(ValueError, match="is unknown"):
        count_multiply_adds(model_of(layers.Conv2D(2, 3), shape=(None, None, 3)))
