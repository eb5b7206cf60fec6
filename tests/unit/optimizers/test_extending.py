"""Extensions on one another, under the distributed optimizer, saved and copied."""

import copy

import keras
import numpy as np
import pytest

import hvd_imgcls.keras as hvd
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.optimizers import (
    take_averages,
    with_adaptive_clipping,
    with_averaged_weights,
    with_learning_rate_multipliers,
    with_lookahead,
    with_momentum_correction,
    with_weight_decay_on,
)
from tests.unit.optimizers.steps import (
    assert_close,
    make_gradients,
    make_variables,
    take_steps,
)

EXTENSIONS = {
    "weight decay on kernels": with_weight_decay_on,
    "momentum correction": with_momentum_correction,
    "adaptive clipping": lambda o: with_adaptive_clipping(o, max_ratio=0.5),
    "multipliers": lambda o: with_learning_rate_multipliers(o, lambda v: 0.5 + (v.name == "bias")),
    "lookahead": lambda o: with_lookahead(o, every_steps=2, slow_fraction=lambda _: 0.3),
    "averages": lambda o: with_averaged_weights(o, 0.9, warms_up=True),
}


def extended_in_every_way(but=None):
    schedule = keras.optimizers.schedules.CosineDecay(0.3, 10)
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9, weight_decay=0.1)
    for name, extend in EXTENSIONS.items():
        optimizer = optimizer if name == but else extend(optimizer)
    return optimizer


@pytest.fixture(scope="module")
def gradients():
    return make_gradients(4)


@pytest.fixture(scope="module")
def expected(gradients):
    return take_steps(extended_in_every_way(), gradients)


@pytest.mark.parametrize("left_out", [name for name in EXTENSIONS if name != "averages"])
def test_none_is_lost_under_the_others(left_out, gradients, expected):
    """What is compared below would be different without any one of them."""
    with pytest.raises(AssertionError):
        assert_close(take_steps(extended_in_every_way(but=left_out), gradients), expected)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda o: o.from_config(o.get_config()), id="from_config"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(hvd.DistributedOptimizer, id="distributed"),
        pytest.param(
            lambda o: hvd.DistributedOptimizer(o).from_config(o.get_config()),
            id="from_config of a distributed one",
        ),
        pytest.param(
            lambda o: copy.deepcopy(hvd.DistributedOptimizer(o)), id="deepcopy of a distributed one"
        ),
    ],
)
def test_extensions_survive(change, gradients, expected):
    hvd.init()
    optimizer = change(extended_in_every_way())
    assert optimizer.__class__ is keras.optimizers.SGD
    assert_close(take_steps(optimizer, gradients), expected, rtol=1e-6)
    assert sum(v.name.endswith("average") for v in optimizer.variables) == 2


def test_extensions_work_under_loss_scaling(gradients, expected):
    scaled = keras.optimizers.LossScaleOptimizer(extended_in_every_way(), initial_scale=8.0)
    eightfold = [[8 * gradient for gradient in of_step] for of_step in gradients]
    assert_close(take_steps(scaled, eightfold), expected)


def test_accumulated_passes_make_one_update_of_everything(gradients, expected):
    """Learning rate, average and momentum see updates, not passes."""
    hvd.init()
    optimizer = hvd.DistributedOptimizer(
        extended_in_every_way(), backward_passes_per_step=2, average_aggregated_gradients=True
    )
    passes = [[g * factor for g in of_step] for of_step in gradients for factor in (0.5, 1.5)]
    seen = take_steps(optimizer, passes)
    assert_close(seen[1::2], expected)
    assert int(optimizer.iterations.numpy()) == len(gradients)


def test_restored_in_the_middle_it_goes_on_exactly(gradients, expected):
    """What the extensions need is in the optimizer's variables, all of it."""
    variables, first = make_variables(), extended_in_every_way()
    take_steps(first, gradients[:2], variables)
    second = extended_in_every_way()
    second.build(variables)
    for restored, saved in zip(second.variables, first.variables, strict=True):
        restored.assign(saved)
    assert_close(take_steps(second, gradients[2:], variables), expected[2:], rtol=0, atol=0)


def test_trained_model_is_saved_as_plain_keras_with_its_averages(tmp_path):
    hvd.init()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="logits")])
    optimizer = with_averaged_weights(
        with_weight_decay_on(keras.optimizers.AdamW(0.1)), 0.5, warms_up=True
    )
    model.compile(hvd.DistributedOptimizer(optimizer), loss="mse")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 3)), random.normal(size=(8, 4))
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    raw = model.get_weights()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is keras.optimizers.AdamW
    for saved, value in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(saved.numpy(), value.numpy())
    take_averages(model)
    averages = [v.numpy() for v in model.optimizer.variables if v.name.endswith("average")]
    for weight, average, before in zip(model.get_weights(), averages, raw, strict=True):
        np.testing.assert_array_equal(weight, average)
        assert np.abs(weight - before).max() > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), "scales the loss"),
        (lambda: keras.optimizers.SGD(gradient_accumulation_steps=2), "accumulates"),
        (lambda: hvd.DistributedOptimizer(keras.optimizers.SGD()), "distributed"),
    ],
)
def test_what_cannot_be_extended_is_refused(make, message):
    hvd.init()
    with pytest.raises(ConfigError, match=message):
        with_weight_decay_on(make())


def test_a_built_optimizer_is_refused():
    optimizer = keras.optimizers.SGD()
    take_steps(optimizer, make_gradients(1))
    with pytest.raises(ConfigError, match="built"):
        with_adaptive_clipping(optimizer, max_ratio=0.1)


def test_take_averages_without_averages_says_so():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("sgd", loss="mse")
    with pytest.raises(ConfigError, match="without averages"):
        take_averages(model)
