"""Training without labels, then with some of them, in one run."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from hvd_imgcls import distributed, logs
from hvd_imgcls.config import load_config
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.workflows.train import train

PIPELINES = Path(__file__).parents[3] / "pipelines"
SHORT = (
    "--model.num_filters=[8, 16]",
    "--pretraining.num_epochs=3",
    "--train.num_epochs=6",
    "--fine_tuning.freeze.0.epochs=2",
)


@pytest.fixture(scope="module", autouse=True)
def _process_of_several_runs():
    # Thread counts can be set once per process, before TensorFlow runs anything.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed.devices, "configure", lambda **_: None)
        yield
    logs.stop()


def test_encoder_is_trained_without_labels_then_frozen_then_free(tmp_path):
    path = tmp_path / "run"
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            encoder = self.model.get_layer("encoder")
            seen.append((epoch, encoder.get_weights()[0].copy(), encoder.trainable_weights))

    config = load_config(PIPELINES / "digits_cae.yaml", [*SHORT, f"--run_dir={path}"])
    result = train(config, callbacks=[Watch()])
    lines = [json.loads(line) for line in result.run_dir.pretraining.read_text().splitlines()]
    assert [line["step"] for line in lines] == [23, 46, 69]
    assert lines[-1]["loss"] < 0.6 * lines[0]["loss"]
    with Image.open(result.run_dir.reconstructions) as sheet:
        assert sheet.width > 600
    epochs = [json.loads(line)["step"] for line in result.run_dir.metrics.read_text().splitlines()]
    assert epochs == [3, 6, 9, 12, 15, 18], "143 of 1,438 images have labels"
    kernels = [kernel for _, kernel, _ in seen]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not any(weights for epoch, _, weights in seen if epoch < 2)
    assert all(weights for epoch, _, weights in seen if epoch >= 2)
    assert (kernels[2] != kernels[1]).any()


def test_a_model_without_a_decoder_is_refused(tmp_path):
    config = load_config(
        PIPELINES / "digits_cnn.yaml", ["--pretraining={num_epochs: 1}", f"--run_dir={tmp_path}/r"]
    )
    with pytest.raises(ConfigError, match=r"pretraining.*small_cnn.*model.name cae"):
        train(config)
