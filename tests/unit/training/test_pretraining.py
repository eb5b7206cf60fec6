"""Training without labels, then with some of them, in one run."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from hvd_imgcls import distributed, logs
from hvd_imgcls.config import load_config
from hvd_imgcls.errors import BadImagesError, ConfigError
from hvd_imgcls.workflows.startup.images import open_run_images
from hvd_imgcls.workflows.train import train
from tests.unit.data.images import write_class_folders

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


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """Images of two classes; one cannot be read, and its label is not used."""
    folder = tmp_path_factory.mktemp("images")
    write_class_folders(folder, {"cat": 20, "dog": 20}, ".png")
    config = config_of(folder, "--data.bad_examples=fail")
    images = open_run_images(config)
    labelled = {
        images.labelled.name_of("train", example)
        for example in range(images.labelled.num_examples("train"))
    }
    whole = images.whole
    names = [whole.name_of("train", example) for example in range(whole.num_examples("train"))]
    bad = next(name for name in names if name not in labelled)
    Path(bad).write_bytes(b"no image")
    return folder, bad


def config_of(folder, *overrides):
    options = [
        f"--data.source={{name: image_folder, path: {folder}, held_out_fraction: 0.2}}",
        "--data.image_size=8",
        "--data.num_channels=1",
        "--data.labelled_fraction=0.5",
        "--data.bad_examples=quarantine",
        "--augment=[]",
        "--model.num_filters=[4, 4]",
        "--pretraining.num_epochs=2",
        "--train.num_epochs=2",
        "--train.global_batch_size=8",
        "--schedule.warmup_epochs=0",
        "--fine_tuning={}",
        "--logging={tensorboard: false, report: false}",
    ]
    return load_config(PIPELINES / "digits_cae.yaml", [*options, *overrides])


@pytest.mark.slow
def test_an_image_that_only_pretraining_reads_is_in_the_quarantine(spoilt, tmp_path):
    folder, bad = spoilt
    run = train(config_of(folder, f"--run_dir={tmp_path / 'run'}")).run_dir
    (line,) = [json.loads(line) for line in run.quarantine.read_text().splitlines()]
    assert (line["name"], line["phase"], line["epoch"]) == (bad, "pretraining", 1)
    assert json.loads(run.summary.read_text())["num_bad_images"] == 1


def test_pretraining_ends_if_too_many_images_are_bad(spoilt, tmp_path):
    folder, bad = spoilt
    config = config_of(folder, "--data.max_bad_examples=0", f"--run_dir={tmp_path / 'run'}")
    with pytest.raises(BadImagesError, match=Path(bad).name):
        train(config)
