"""Every rule against its formula in NumPy."""

import keras
import numpy as np
import pytest

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.optimizers import (
    Lars,
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
    values,
)

# Changes at every step, up and down by much.
RATES = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1, 3], [0.1, 0.5, 0.02, 0.3])
RATE_OF_STEP = [0.1, 0.5, 0.02, 0.02, 0.3, 0.3]


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_is_that_of_the_paper(nesterov):
    rate, momentum, decay, eta, epsilon = 2.0, 0.9, 0.01, 0.02, 1e-3
    optimizer = with_weight_decay_on(
        Lars(rate, momentum, nesterov, decay, trust_coefficient=eta, epsilon=epsilon)
    )
    gradients = make_gradients(4)
    weights = values(make_variables())
    velocities = [np.zeros_like(w) for w in weights]
    expected = []
    for of_step in gradients:
        for index, gradient in enumerate(of_step):
            w, trust, update = weights[index], 1.0, gradient
            if w.ndim > 1:
                update = gradient + decay * w
                length = np.linalg.norm(w)
                trust = eta * length / (np.linalg.norm(gradient) + decay * length + epsilon)
            scaled = rate * trust * update
            velocities[index] = v = momentum * velocities[index] - scaled
            weights[index] = w + (momentum * v - scaled if nesterov else v)
        expected.append(list(weights))
    assert_close(take_steps(optimizer, gradients), expected)


def test_lars_moves_weights_of_zero_and_survives_gradients_of_zero():
    variables = [keras.Variable(np.zeros((2, 2), np.float32), name="kernel")]
    ones, zeros = np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32)
    seen = take_steps(Lars(0.5, momentum=0.0), [[zeros], [ones]], variables)
    assert_close(seen, [[zeros], [-0.5 * ones]])


def test_lars_is_known_to_keras_by_its_name():
    saved = keras.saving.serialize_keras_object(Lars(0.5, trust_coefficient=0.3, epsilon=0.1))
    again = keras.saving.deserialize_keras_object(saved)
    assert (type(again), again.trust_coefficient, again.epsilon) == (Lars, 0.3, 0.1)


def test_lamb_of_keras_is_the_one_that_the_docs_describe():
    rate, beta_1, beta_2, epsilon, decay = 0.1, 0.9, 0.99, 1e-3, 0.05
    lamb = keras.optimizers.Lamb(rate, beta_1, beta_2, epsilon, weight_decay=decay)
    gradients = make_gradients(4)
    weights = values(make_variables())
    m, v = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    expected = []
    for step, of_step in enumerate(gradients, start=1):
        for index, gradient in enumerate(of_step):
            w = weights[index]
            if w.ndim > 1:  # decoupled, before the step and outside of its length
                w = w * (1 - rate * decay)
            m[index] = beta_1 * m[index] + (1 - beta_1) * gradient
            v[index] = beta_2 * v[index] + (1 - beta_2) * gradient.astype(np.float64) ** 2
            m_hat, v_hat = m[index] / (1 - beta_1**step), v[index] / (1 - beta_2**step)
            update = m_hat / (np.sqrt(v_hat) + epsilon)
            weights[index] = w - rate * np.linalg.norm(w) / np.linalg.norm(update) * update
        expected.append(list(weights))
    assert_close(take_steps(with_weight_decay_on(lamb), gradients), expected, rtol=1e-4)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_correction_makes_it_the_sgd_of_pytorch(nesterov):
    momentum, gradients = 0.9, make_gradients(6)
    sgd = keras.optimizers.SGD(RATES, momentum=momentum, nesterov=nesterov)
    weights = values(make_variables())
    sums = [np.zeros_like(w) for w in weights]
    expected = []
    for rate, of_step in zip(RATE_OF_STEP, gradients, strict=True):
        for index, gradient in enumerate(of_step):
            sums[index] = momentum * sums[index] + gradient
            step = gradient + momentum * sums[index] if nesterov else sums[index]
            weights[index] = weights[index] - rate * step
        expected.append(list(weights))
    plain = keras.optimizers.SGD(RATES, momentum=momentum, nesterov=nesterov)
    assert_close(take_steps(with_momentum_correction(sgd), gradients), expected)
    with pytest.raises(AssertionError):  # the formula tells the two apart
        assert_close(take_steps(plain, gradients), expected)


def test_momentum_correction_is_for_sgd_alone():
    with pytest.raises(ConfigError, match=r"expected keras\.optimizers\.SGD"):
        with_momentum_correction(keras.optimizers.Adam())


def test_l2_goes_through_momentum_and_spares_biases():
    decay, momentum, rate = 0.1, 0.9, 0.2
    gradients = make_gradients(5)
    weights = values(make_variables())
    velocities = [np.zeros_like(w) for w in weights]
    expected = []
    for of_step in gradients:
        for index, gradient in enumerate(of_step):
            w = weights[index]
            full = gradient + (decay * w if w.ndim > 1 else 0)
            velocities[index] = momentum * velocities[index] - rate * full
            weights[index] = w + velocities[index]
        expected.append(list(weights))
    sgd = with_weight_decay_on(keras.optimizers.SGD(rate, momentum=momentum), l2=decay)
    assert_close(take_steps(sgd, gradients), expected)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Lamb", "Lion", "Muon"])
def test_decoupled_decay_is_on_kernels_only_whatever_their_path(name):
    # Keras's own exclusion by name would take "kernel" for a bias: its layer is called so.
    with keras.name_scope("bias_gamma_block"):
        variables = make_variables()
    keywords = {"adam_weight_decay": 0.5} if name == "Muon" else {}
    optimizer = getattr(keras.optimizers, name)(0.1, weight_decay=0.5, **keywords)
    before = values(variables)
    zeros = [np.zeros(variable.shape, np.float32) for variable in variables]
    seen = take_steps(with_weight_decay_on(optimizer), [zeros], variables)
    assert_close(seen, [[before[0] * (1 - 0.1 * 0.5), before[1]]])


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Lion", "Adafactor", "Nadam", "Muon"])
def test_multiplied_learning_rate_is_that_learning_rate(name):
    """A variable with multiplier 0.1 goes the way of a whole optimizer with a tenth."""
    gradients = make_gradients(3)

    def make(rate):
        momentum = {"momentum": 0.9} if name == "SGD" else {}
        return getattr(keras.optimizers, name)(rate, weight_decay=0.3, **momentum)

    multiplier_of = {"kernel": 0.1, "bias": 1.0}
    both = with_learning_rate_multipliers(make(0.05), lambda v: multiplier_of[v.name])
    seen = take_steps(both, gradients)
    tenth, whole = take_steps(make(0.005), gradients), take_steps(make(0.05), gradients)
    assert_close(seen, [[a[0], b[1]] for a, b in zip(tenth, whole, strict=True)])


def test_multiplier_zero_freezes_and_a_negative_one_is_refused():
    optimizer = with_learning_rate_multipliers(
        keras.optimizers.AdamW(0.1, weight_decay=0.5), lambda v: float(v.name != "kernel")
    )
    before = values(make_variables())
    seen = take_steps(optimizer, make_gradients(2))
    np.testing.assert_array_equal(seen[-1][0], before[0])
    assert np.abs(seen[-1][1] - before[1]).min() > 0.01
    negative = with_learning_rate_multipliers(keras.optimizers.SGD(0.1), lambda _: -1.0)
    with pytest.raises(ConfigError, match="non-negative"):
        take_steps(negative, make_gradients(1))


def test_adaptive_clipping_is_that_of_the_paper():
    max_ratio, epsilon = 0.3, 0.5
    shapes = (3, 4), (4,), (2, 2, 3, 5), (4, 2, 3)
    random = np.random.default_rng(3)
    before = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    before[0][:, 1] = 0  # its norm counts as epsilon
    gradients = make_gradients(1, shapes=shapes)[0]
    gradients[0][:, 2] *= 1e-3  # short enough
    expected = []
    for w, gradient in zip(before, gradients, strict=True):
        g = gradient
        axes = {1: None, 2: (0,), 3: (0,), 4: (0, 1, 2)}[w.ndim]
        if axes is not None:
            longest = max_ratio * np.maximum(np.sqrt((w**2).sum(axes, keepdims=True)), epsilon)
            norm = np.sqrt((g**2).sum(axes, keepdims=True))
            assert (norm > longest).any()
            g = np.where(norm > longest, g * longest / norm, g)
        expected.append(w - g)
    optimizer = with_adaptive_clipping(
        keras.optimizers.SGD(1.0), max_ratio=max_ratio, epsilon=epsilon
    )
    assert_close(
        take_steps(optimizer, [gradients], [keras.Variable(w) for w in before]), [expected]
    )


@pytest.mark.parametrize("warms_up", [False, True])
def test_average_follows_its_formula_and_leaves_the_weights_alone(warms_up):
    decay, gradients = 0.6, make_gradients(12)
    variables = make_variables()
    optimizer = with_averaged_weights(keras.optimizers.SGD(0.3), decay, warms_up=warms_up)
    seen = take_steps(optimizer, gradients, variables)
    assert_close(seen, take_steps(keras.optimizers.SGD(0.3), gradients))
    average = seen[0]
    for t, of_step in enumerate(seen[1:], start=1):
        kept = min(decay, (1 + t) / (10 + t)) if warms_up else decay
        average = [kept * a + (1 - kept) * w for a, w in zip(average, of_step, strict=True)]
    averages = [v for v in optimizer.variables if v.name.endswith("average")]
    assert_close([values(averages)], [average])
    optimizer.finalize_variable_values(variables)  # as fit does at its end
    assert_close([values(variables)], [seen[-1]], rtol=0, atol=0)


def test_lookahead_follows_its_formula():
    gradients, fractions = make_gradients(7), {3: 0.3, 6: 0.6}
    optimizer = with_lookahead(
        keras.optimizers.SGD(0.5), every_steps=3, slow_fraction=lambda finished: finished / 10
    )
    seen = take_steps(optimizer, gradients)
    weights = slow = values(make_variables())
    for step, of_step in enumerate(gradients, start=1):
        weights = [w - 0.5 * g for w, g in zip(weights, of_step, strict=True)]
        if step in fractions:
            kept = fractions[step]
            slow = [kept * s + (1 - kept) * w for s, w in zip(slow, weights, strict=True)]
            weights = slow
        assert_close([seen[step - 1]], [weights])
