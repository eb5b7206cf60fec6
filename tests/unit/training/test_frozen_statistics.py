"""Moving statistics of frozen layers stay as they are, whatever comes after training."""

from pathlib import Path

import keras
import numpy as np
import pytest

from hvd_imgcls.config import load_config
from hvd_imgcls.train import train

DIGITS = Path(__file__).parents[3] / "pipelines" / "digits_cnn.yaml"

OPTIONS = (
    "--train.num_steps=20",
    "--train.num_epochs=null",
    "--schedule.warmup_epochs=0",
    "--augment=[]",
    "--logging.report=false",
)


def model_with_statistics():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.BatchNormalization(name="frozen", momentum=0.9),
            layers.Flatten(),
            layers.Dense(8),
            layers.BatchNormalization(name="trained", momentum=0.9),
            layers.Dense(10),
        ]
    )
    model.get_layer("frozen").moving_mean.assign([0.25])
    return model


@pytest.mark.parametrize("ema", ["null", "{decay: 0.9}"])
@pytest.mark.parametrize("epochs", [pytest.param("null", marks=pytest.mark.slow), "1"])
def test_recalibration_leaves_layers_that_are_frozen_for_good(tmp_path, epochs, ema):
    words = [
        *OPTIONS,
        "--train.recalibration_batches=3",
        f"--train.ema={ema}",
        f"--fine_tuning.freeze=[{{layers: [frozen], epochs: {epochs}}}]",
        f"--run_dir={tmp_path / 'run'}",
    ]
    result = train(load_config(DIGITS, words), model=model_with_statistics())
    saved = keras.models.load_model(result.run_dir.model)
    frozen, trained = saved.get_layer("frozen"), saved.get_layer("trained")
    is_kept = np.allclose(frozen.moving_mean, [0.25])
    # 20 steps of digits are less than an epoch: frozen for one epoch is for good, too.
    assert is_kept
    assert not np.allclose(trained.moving_mean, 0.0)
    # Whoever loads the model gets it as it was given: with layers that can be trained.
    assert frozen.trainable
