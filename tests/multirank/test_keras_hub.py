"""A KerasHub preset on two ranks, where KerasHub is installed."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.support.program import hvd_imgcls, running

PIPELINE = """
data:
  source: {{name: image_folder, path: {folder}/images, held_out_fraction: 0.25}}
  image_size: 32
model: {{name: keras_hub, preset: {folder}/preset}}
optimizer: {{name: sgd}}
schedule: {{name: constant, base_learning_rate: 0.01}}
train: {{global_batch_size: 8, num_epochs: 2}}
fine_tuning: {{freeze: [{{layers: [trunk], epochs: 1}}], layer_decay: 0.9}}
run_dir: {folder}/run
"""


def save_preset(hub, folder):
    backbone = hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=8,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    )
    converter = hub.layers.ViTImageConverter(image_size=(32, 32), scale=1 / 127.5, offset=-1)
    preprocessor = hub.models.ViTImageClassifierPreprocessor(image_converter=converter)
    hub.models.ViTImageClassifier(backbone, 5, preprocessor).save_to_preset(str(folder))


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_preset_is_trained_evaluated_and_exported(tmp_path):
    save_preset(pytest.importorskip("keras_hub"), tmp_path / "preset")
    random = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(16):
            pixels = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    path = tmp_path / "tiny.yaml"
    path.write_text(PIPELINE.format(folder=tmp_path))
    run = str(tmp_path / "run")
    for words, size, said in (
        (("train", str(path)), 2, "model identical on all ranks: yes"),
        (("evaluate", run), 2, "of 8)"),
        (("export", run, "--to", str(tmp_path / "exported")), 1, "verified with"),
    ):
        with running(hvd_imgcls(*words), size=size, cwd=tmp_path) as program:
            assert program.wait(240) == 0, program.output
            assert said in program.output, program.output
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["num_examples"] == 8
