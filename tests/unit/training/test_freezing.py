"""Which layers are trained when, and what stays over the change."""

import keras
import numpy as np
import pytest

from hvd_imgcls.config.fine_tuning import Freeze
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.optimizers import with_averaged_weights
from hvd_imgcls.workflows.training.freezing import Freezer, Segment, carry_over, segments


@pytest.mark.parametrize(
    ("freezes", "expected"),
    [
        ([], [(0, 6, ())]),
        ([("a", 2)], [(0, 2, ("a",)), (2, 6, ())]),
        ([("a", None)], [(0, 6, ("a",))]),
        ([("a", 9)], [(0, 6, ("a",))]),
        ([("a", 6)], [(0, 6, ("a",))]),
        ([("a", 4), ("b", 2)], [(0, 2, ("a", "b")), (2, 4, ("a",)), (4, 6, ())]),
        ([("a", 2), ("b", 2), ("c", None)], [(0, 2, ("a", "b", "c")), (2, 6, ("c",))]),
    ],
    ids=str,
)
def test_segments_cover_the_run(freezes, expected):
    found = segments([Freeze(layers=(name,), epochs=epochs) for name, epochs in freezes], 6)
    assert found == [Segment(*one) for one in expected]


@pytest.fixture
def model():
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="inner_1"), keras.layers.Dense(3)],
        name="encoder",
    )
    images = keras.Input((4,))
    features = keras.layers.BatchNormalization(name="norm")(inner(images))
    features = keras.layers.Dense(3, name="block_1")(features)
    features = keras.layers.Dense(3, name="block_2")(features)
    model = keras.Model(images, keras.layers.Dense(2, name="logits")(features))
    # As a network whose own layer is not to be trained, whatever a pipeline freezes.
    model.get_layer("block_1").bias.trainable = False
    return model


def trained(model):
    return {variable.path for variable in model.trainable_variables}


def test_patterns_name_layers_models_and_the_trunk(model):
    freezer, everything = Freezer(model), trained(model)
    assert freezer.freeze(["block_*"]) == 2
    assert not [path for path in trained(model) if "block" in path]
    freezer.freeze(["encoder"])
    assert not [path for path in trained(model) if "encoder" in path]
    assert [path for path in trained(model) if "block_1" in path] == ["block_1/kernel"]
    freezer.freeze(["trunk"])
    assert trained(model) == {"logits/kernel", "logits/bias"}
    freezer.freeze([])
    assert trained(model) == everything
    assert not model.get_layer("block_1").bias.trainable, "what was frozen before stays frozen"


def test_a_name_that_no_layer_has_is_an_error(model):
    with pytest.raises(ConfigError, match=r"fine_tuning.freeze.*blocks.*encoder, norm"):
        Freezer(model).freeze(["blocks"])


def step(optimizer, variables):
    optimizer.apply([np.ones(variable.shape, np.float32) for variable in variables], variables)


def test_the_optimizer_goes_on_with_what_it_knows():
    first = keras.Variable(np.ones(2, np.float32), name="first")
    second = keras.Variable(np.full(3, 5, np.float32), name="second")

    def make():
        schedule = keras.optimizers.schedules.CosineDecay(0.5, 10)
        return with_averaged_weights(keras.optimizers.SGD(schedule, momentum=0.9), 0.9)

    old = make()
    old.build([first])
    step(old, [first])
    step(old, [first])
    new = make()
    new.build([first, second])
    carry_over(old, new)
    assert int(new.iterations) == 2
    of_old = {variable.name: variable.numpy() for variable in old.variables}
    of_new = {variable.name: variable.numpy() for variable in new.variables}
    for name, value in of_old.items():
        np.testing.assert_array_equal(of_new[name], value)
    np.testing.assert_array_equal(of_new["second_momentum"], np.zeros(3))
    np.testing.assert_array_equal(of_new["second_average"], second.numpy())
    # The next step is that of an optimizer that had both from the beginning.
    before = first.numpy()
    step(new, [first, second])
    assert np.abs(first.numpy() - before).max() > 0.5, "with the momentum of two steps"
