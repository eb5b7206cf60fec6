"""Pairs of options that touch weights, statistics or updates.

Every option has a setting that changes the training, and one that must not change it, alone or
beside any other option: averaging keeps the raw weights, a clipping norm that is never reached
clips nothing, and so on. What an option does when it is on is tested against a reference of its
own, in the tests of its module.
"""

import keras
import numpy as np
import pytest

from hvd_imgcls.config import load_config
from hvd_imgcls.train import train

STEPS = 8
BASE = (
    f"--train.num_steps={STEPS}",
    "--train.num_epochs=null",
    "--schedule.warmup_epochs=0",
    "--train.global_batch_size=32",
    "--augment=[]",
    "--logging={tensorboard: false, report: false}",
    "--optimizer={name: sgd, momentum: 0.9, weight_decay: 0.001}",
)
# May change the training.
ON = {
    "ema": ["--train.ema={decay: 0.5}"],
    "lookahead": ["--train.lookahead={every_steps: 3, slow_fraction: 0.5}"],
    "clipping": ["--gradient_clipping={name: global_norm, max_norm: 0.05}"],
    "accumulation": ["--train.gradient_accumulation_steps=4"],
    "freezing": ["--fine_tuning.freeze=[{layers: [hidden], epochs: null}]"],
    "multipliers": ["--fine_tuning.layer_decay=0.5"],
    "recalibration": ["--train.recalibration_batches=3"],
    "decay": ["--optimizer.weight_decay=0.1"],
    "skipping": ["--train.non_finite=skip"],
    "synchronized": ["--synchronization.batch_normalization=synchronized"],
    "quarantine": ["--data.bad_examples=quarantine"],
    "weighted": ["--train.last_batch=weighted", "--train.class_weights=balanced"],
}
# Must not change it.
NEUTRAL = {
    "ema": ["--train.ema={decay: 0.9}"],
    "lookahead": ["--train.lookahead={every_steps: 3, slow_fraction: 1.0e-7}"],
    "clipping": ["--gradient_clipping={name: global_norm, max_norm: 1e9}"],
    "freezing": ["--fine_tuning.freeze=[{layers: [scale], epochs: null}]"],
    "multipliers": ["--fine_tuning.layer_decay=1"],
    "recalibration": ["--train.recalibration_batches=2"],
    "skipping": ["--train.non_finite=skip"],
    "synchronized": ["--synchronization.batch_normalization=synchronized"],
    "quarantine": ["--data.bad_examples=quarantine"],
    "checks": ["--train.check_every_steps=1"],
}
# Sums in another order: not bitwise equal.
ROUNDED = {"clipping", "synchronized", "lookahead", "quarantine"}


class Capture(keras.callbacks.Callback):
    """Takes the raw trainable weights after the last step."""

    def on_train_end(self, logs=None):
        self.weights = [v.numpy() for v in self.model.variables if "moving" not in v.path]


def weights_after(folder, words):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 16, name="scale"),
            layers.Flatten(),
            layers.Dense(12, name="hidden"),
            layers.BatchNormalization(momentum=0.5),
            layers.Activation("relu"),
            layers.Dense(10, name="logits", dtype="float32"),
        ]
    )
    capture = Capture()
    config = load_config("digits_cnn", [*BASE, *words, f"--run_dir={folder}"])
    train(config, model=model, callbacks=[capture])
    return capture.weights


@pytest.mark.slow
@pytest.mark.parametrize("on", ON)
def test_what_is_neutral_alone_is_neutral_beside_another_option(tmp_path, on):
    expected = weights_after(tmp_path / "alone", ON[on])
    for name, words in NEUTRAL.items():
        if name == on:
            continue
        found = weights_after(tmp_path / name, [*ON[on], *words])
        for a, b in zip(found, expected, strict=True):
            if name in ROUNDED:
                np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6, err_msg=f"{on} and {name}")
            else:
                np.testing.assert_array_equal(a, b, err_msg=f"{on} and {name}")
    if on not in ("ema", "recalibration", "skipping", "synchronized", "quarantine"):
        plain = weights_after(tmp_path / "plain", [])
        assert any(not np.array_equal(a, b) for a, b in zip(expected, plain, strict=True))
