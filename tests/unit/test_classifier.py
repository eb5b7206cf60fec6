"""A trained classifier in Python, and as a table on the terminal."""

import numpy as np
import PIL.Image
import pytest

import hvd_imgcls
from hvd_imgcls import cli
from hvd_imgcls.errors import BadImagesError, ConfigError, DataError
from tests.support.colour_runs import COLOURS, write_images, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of three classes, and a run that tells them apart."""
    folder = tmp_path_factory.mktemp("classifier")
    write_images(folder / "images", {name: name for name in COLOURS}, count=3)
    write_run(folder / "run", folder / "images")
    (folder / "bad.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def classifier(folder):
    return hvd_imgcls.load(folder / "run")


def test_every_kind_of_image_has_the_same_prediction(classifier, folder):
    path = folder / "images" / "red" / "01.png"
    pixels = np.asarray(PIL.Image.open(path))
    images = [path, str(path), path.read_bytes(), pixels]
    assert classifier.predict(images).tolist() == ["red"] * 4
    probabilities = classifier.predict_proba(images, batch_size=3)
    assert probabilities.shape == (4, 3)
    assert np.ptp(probabilities, axis=0).max() == 0
    assert np.allclose(probabilities.sum(axis=1), 1)
    for one in images:
        assert np.array_equal(classifier.predict_proba(one), probabilities[:1])
    assert np.array_equal(classifier.predict_proba(np.stack([pixels] * 2)), probabilities[:2])
    assert classifier.predict(np.full((40, 30), 250, np.uint8)).tolist() == ["light"]


def test_folders_are_taken_in_the_order_of_names(classifier, folder):
    expected = [name for name in sorted(COLOURS) for _ in range(3)]
    assert classifier.predict(folder / "images").tolist() == expected
    assert classifier.predict(str(folder / "images" / "*" / "00.png")).tolist() == sorted(COLOURS)


def test_what_cannot_be_predicted_is_named(classifier, folder):
    good = folder / "images" / "red" / "00.png"
    with pytest.raises(BadImagesError, match=r"bad\.jpg: .*images\[2\]: "):
        classifier.predict([good, folder / "bad.jpg", b"no image either"])
    with pytest.raises(BadImagesError, match=r"absent\.jpg: "):
        classifier.predict("absent.jpg")
    with pytest.raises(ConfigError, match=r"images\[1\]: got 'float32 of shape \[8, 8, 3\]'"):
        classifier.predict([good, np.zeros((8, 8, 3), np.float32)])
    with pytest.raises(DataError, match="no image"):
        classifier.predict(folder / "run")
    with pytest.raises(AttributeError, match="no attribute 'loads'"):
        hvd_imgcls.loads  # noqa: B018


def test_without_out_predictions_are_a_table(classifier, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    words = ["predict", "run", "images/dark/00.png", "bad.jpg", "images/red/00.png", "--quiet"]
    assert cli.exit_code_of(lambda: cli.main(words)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0].split("  ") == ["3 images, 1 of them unreadable, in"] or "unreadable" in lines[0]
    )
    table = [line.split() for line in lines[1:]]
    assert table[0] == ["image", "class", "probability", "2nd", "class", "probability"]
    assert [table[1][0], table[1][1]] == ["images/dark/00.png", "dark"]
    assert table[2][:2] == ["bad.jpg", "error:"]
    probability = classifier.predict_proba(folder / "images" / "red" / "00.png").max()
    assert table[3][:3] == ["images/red/00.png", "red", f"{probability:.4f}"]
    assert sorted(folder.rglob("*")) == before
