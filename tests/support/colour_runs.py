"""A run whose model tells dark, light and red images apart, without training; and such images."""

import json

import keras
import numpy as np
import PIL.Image

CONFIG = """
data: {source: {name: image_folder, path: PATH}, image_size: 8}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 2}
"""
COLOURS = {"dark": (20, 20, 20), "light": (220, 220, 220), "red": (220, 20, 20)}
CLASSES = tuple(COLOURS)
# 128 - red, green, and red - green - 100, of the mean pixel.
WEIGHTS = [[-1.0, 0, 1], [0, 1, -1], [0, 0, 0]]
BIASES = [128.0, 0, -100]


def write_images(root, colour_of, count=24):
    """Writes `count` images of a colour into every folder: `colour_of[folder]`."""
    for folder, colour in colour_of.items():
        (root / folder).mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(np.array(COLOURS[colour]) + number % 20, 0, 255)
            image = np.broadcast_to(pixels, (8, 8, 3)).astype(np.uint8)
            PIL.Image.fromarray(image).save(root / folder / f"{number:02}.png")
    return root


def write_run(directory, images, classes=CLASSES):
    """Writes a run directory with a model whose outputs are dark, light and red."""
    directory.mkdir()
    inputs = keras.Input((8, 8, 3))
    logits = keras.layers.Dense(3, name="logits")
    model = keras.Model(inputs, logits(keras.layers.GlobalAveragePooling2D()(inputs)))
    logits.set_weights([np.array(WEIGHTS, np.float32), np.array(BIASES, np.float32)])
    model.save(directory / "model.keras")
    (directory / "config.yaml").write_text(CONFIG.replace("PATH", str(images)))
    (directory / "classes.json").write_text(json.dumps(classes))
    return directory
