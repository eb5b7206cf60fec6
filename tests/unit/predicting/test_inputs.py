import pytest

from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.workflows.predicting.inputs import list_images


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", "deep/z.webp", "deep/.hidden.png", ".cache/x.png", "notes.txt"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    return tmp_path


def test_a_folder_means_its_images_sorted_and_those_in_its_folders(folder):
    images = list_images([str(folder)], ())
    assert images == [str(folder / name) for name in ("a.JPG", "b.png", "deep/z.webp")]


def test_links_in_a_circle_end(folder):
    (folder / "deep" / "up").symlink_to(folder)
    assert len(list_images([str(folder)], ())) == 3


def test_a_pattern_means_what_it_matches_and_a_file_itself(folder):
    words = [str(folder / "notes.txt"), str(folder / "*.png"), str(folder / "gone.png")]
    assert list_images(words, ()) == [
        str(folder / name) for name in ("notes.txt", "b.png", "gone.png")
    ]
    assert list_images([str(folder / "**" / "*.webp")], ()) == [str(folder / "deep/z.webp")]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(folder):
    (folder / "x[1].png").touch()
    assert list_images([str(folder / "x[1].png")], ()) == [str(folder / "x[1].png")]


def test_lines_stand_where_the_dash_is_and_twice_stays_twice():
    assert list_images(["a", "-", "a"], ["b\n", "\n", "c d\r\n"]) == ["a", "b", "c d", "a"]


def test_a_folder_or_a_pattern_without_images_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match="no images in this folder"):
        list_images([str(tmp_path)], ())
    with pytest.raises(DataError, match=r"\*\.png: no file matches"):
        list_images([str(tmp_path / "*.png")], ())
    with pytest.raises(ConfigError, match="IMAGES: got 'none'"):
        list_images(["-"], ["\n"])
