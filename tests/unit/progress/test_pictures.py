import io

import numpy as np
import pytest
from PIL import Image

from hvd_imgcls.drawing.confusion_matrix import MOST_LABELLED, draw_confusion
from hvd_imgcls.drawing.contact_sheet import enlarged
from hvd_imgcls.drawing.sample_images import draw_batch, draw_predictions
from hvd_imgcls.workflows.progress import Board
from tests.support.events import read_events

NAMES = ["cat", "dog", "owl"]


def contains(picture, part):
    """Whether a picture holds another one somewhere, pixel by pixel."""
    whole, small = np.asarray(picture), np.asarray(part)
    height, width = small.shape[:2]
    starts = np.argwhere((whole[..., :] == small[0, 0]).all(axis=-1))
    return any(np.array_equal(whole[y : y + height, x : x + width], small) for y, x in starts)


def darkness(picture, x, y):
    return 255 - int(np.asarray(picture.convert("L"))[y, x])


def test_board_writes_what_tensorboard_reads(tmp_path):
    board = Board(tmp_path)
    picture = Image.new("RGB", (7, 5), "#102030")
    board.write_numbers("by epoch", {"loss": 0.5, "step": 3, "nothing": None, "text": "x"}, 3)
    board.write_picture("some picture", picture, 4)
    board.close()
    numbers, pictures = read_events(tmp_path)
    assert numbers == {"by epoch/loss": [(3, 0.5)], "by epoch/step": [(3, 3.0)]}
    [(step, encoded)] = pictures["some picture"]
    assert step == 4
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encoded))), np.asarray(picture))


@pytest.mark.parametrize("num_classes", [2, MOST_LABELLED])
def test_confusion_of_few_classes_has_dark_cells_where_the_images_are(num_classes):
    confusion = 20 * np.eye(num_classes, dtype=np.int64)
    confusion[0, 1], confusion[0, 0] = 10, 10
    picture = draw_confusion(confusion, [f"c{i}" for i in range(num_classes)])
    pixels = np.asarray(picture)
    full = (pixels == (16, 66, 128)).all(axis=-1).sum()
    half = (pixels == (135, 160, 191)).all(axis=-1).sum()
    # As many cells of that colour as there are, less the digits in them.
    assert full == pytest.approx(half / 2 * (num_classes - 1), rel=0.1)


@pytest.mark.parametrize("num_classes", [MOST_LABELLED + 1, 1000])
def test_confusion_of_many_classes_shows_a_single_wrong_image(num_classes):
    confusion = 50 * np.eye(num_classes, dtype=np.int64)
    blank = draw_confusion(confusion, [f"c{i}" for i in range(num_classes)])
    confusion[0, num_classes - 1] += 1
    picture = draw_confusion(confusion, [f"c{i}" for i in range(num_classes)])
    scale = max(1, 900 // num_classes)
    x, y = 20 + scale * (num_classes - 1), 84
    assert darkness(blank, x, y) == 0
    assert darkness(picture, x, y) > 20
    assert picture.width < 1100


def test_batch_shows_its_images_and_leaves_targets_out_that_are_none():
    images = np.random.default_rng(0).integers(0, 256, [3, 4, 4, 3], np.uint8)
    targets = np.eye(3, dtype=np.float32)
    with_names = draw_batch(images, targets, NAMES)
    without = draw_batch(images, images.astype(np.float32), NAMES)
    for image in images:
        assert contains(with_names, enlarged(image))
        assert contains(without, enlarged(image))
    assert with_names.height > without.height


def test_predictions_differ_where_an_image_is_wrong():
    images = np.zeros([2, 4, 4, 1], np.uint8)
    logits = np.array([[5.0, 0.0, 0.0], [0.0, 0.0, 9.0]], np.float32)
    right = draw_predictions(images, np.array([0, 2]), logits, NAMES)
    wrong = draw_predictions(images, np.array([0, 1]), logits, NAMES)
    assert right.size == wrong.size
    assert not np.array_equal(np.asarray(right), np.asarray(wrong))
