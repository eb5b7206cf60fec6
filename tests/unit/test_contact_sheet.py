import numpy as np
import pytest
from PIL import Image

from hvd_imgcls.drawing.contact_sheet import (
    Tile,
    draw_sheet,
    enlarged,
    plain_name,
    require_writable,
    shown_side,
    write_sheet,
)
from hvd_imgcls.errors import ConfigError
from tests.support.pictures import contains


def image_of(number, side=8, channels=3):
    random = np.random.default_rng(number)
    return random.integers(0, 256, (side, side, channels), dtype=np.uint8)


def sheet_of(groups, side, **texts):
    texts = {"title": "t", "caption": ["c"], **texts}
    headings = ["h"] * len(groups[0])
    return draw_sheet(groups, headings=headings, side=side, **texts)


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (32, 3), (100, 3), (224, 3), (224, 1)])
def test_sheet_holds_every_image(side, channels):
    images = [image_of(i, side, channels) for i in range(6)]
    tiles = [Tile(image=image, lines=(("a", ""),)) for image in images]
    sheet = sheet_of([tiles[:2], tiles[2:4], tiles[4:]], side)
    for image in images:
        assert contains(sheet, enlarged(image))
    assert not contains(sheet, enlarged(image_of(7, side, channels)))


def test_small_image_is_magnified_without_smoothing():
    image = image_of(0, 8)
    shown = np.asarray(enlarged(image))
    assert shown.shape == (128, 128, 3)
    np.testing.assert_array_equal(shown[::16, ::16], image)
    np.testing.assert_array_equal(shown[15::16, 15::16], image)


def test_large_image_becomes_small():
    assert enlarged(image_of(0, 500)).size == (160, 160)
    assert shown_side(150) == 150


@pytest.mark.parametrize("count", [1, 2, 3, 50])
@pytest.mark.parametrize("tiles", [1, 4])
def test_groups_fit_on_the_sheet_whatever_their_number(count, tiles):
    last = image_of(1000)
    group = [Tile(image=image_of(0))] * (tiles - 1)
    groups = [[*group, Tile(image=image_of(i))] for i in range(count - 1)]
    sheet = sheet_of([*groups, [*group, Tile(image=last)]], 8)
    assert contains(sheet, enlarged(last))
    assert sheet.width <= 1200


def test_text_that_is_too_long_keeps_its_end_and_its_place():
    long = (("w" * 500, " 0.25"),)
    short = (("w" * 400, " 0.25"),)
    by_width = [sheet_of([[Tile(image=image_of(0), lines=one)]], 8) for one in (long, short)]
    np.testing.assert_array_equal(*by_width)
    other = sheet_of([[Tile(image=image_of(0), lines=(("w" * 500, " 0.75"),))]], 8)
    assert not np.array_equal(by_width[0], other)


@pytest.mark.parametrize("text", ["猫 \udc80\n", "", "x" * 3000])
def test_any_text_can_be_drawn(text):
    tile = Tile(image=None, lines=((text, text),))
    assert sheet_of([[tile]], 8, title=text, caption=[text]).width > 0


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat", "cat"),
        ("Überaus", "Uberaus"),
        ("猫", "class 4"),
        ("猫 cat", "cat"),
        ("словарь cat", "class 4"),
        ("\udcff", "class 4"),
        ("", "class 4"),
        ("a\nb", "a b"),
    ],
)
def test_class_names_are_shown_in_letters_of_the_font(name, shown):
    assert plain_name(name, 4) == shown


def test_written_sheet_reads_back_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "sheet.png"
    require_writable(path)
    assert not path.exists()
    sheet = sheet_of([[Tile(image=image_of(0))]], 8)
    write_sheet(sheet, path)
    require_writable(path)
    with Image.open(path) as again:
        np.testing.assert_array_equal(again, sheet)
    assert [one.name for one in tmp_path.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize("name", ["absent/sheet.png", "sheet.jpg", "folder.png"])
def test_file_that_cannot_be_written_is_refused(tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ConfigError, match="--out"):
        require_writable(tmp_path / name)


def test_file_that_cannot_be_written_after_all_is_said(tmp_path):
    with pytest.raises(ConfigError, match="a writable file"):
        write_sheet(sheet_of([[Tile(image=None)]], 8), tmp_path / "absent" / "sheet.png")
