"""The list of models, as `hvd-imgcls models` prints it."""

import json

import pytest

from hvd_imgcls import cli
from hvd_imgcls.config.models import Cae
from hvd_imgcls.models import build_model, listing
from hvd_imgcls.models.applications.known import APPLICATIONS
from hvd_imgcls.models.multiply_adds import count_multiply_adds
from hvd_imgcls.models.table import MODELS


@pytest.fixture
def few(monkeypatch):
    """The list with some quick models."""
    names = ("small_cnn", "cae", "vit", "keras_file")
    monkeypatch.setattr(listing, "MODELS", {name: MODELS[name] for name in names})
    quick = {"MobileNet": APPLICATIONS["MobileNet"]}
    monkeypatch.setattr(listing, "APPLICATIONS", quick)
    monkeypatch.setattr(listing, "is_installed", lambda: False)


def test_every_model_has_one_line_and_a_name_that_is_its_sections():
    for name, entry in MODELS.items():
        assert 20 < len(entry.description) < 90
        assert "\n" not in entry.description
        if entry.section is not None:
            assert entry.section().name == name
            assert entry.image_size in (32, 224)


@pytest.mark.usefixtures("few")
def test_list_has_a_line_for_every_model_and_application(capsys):
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == list(listing.MODELS)
    assert "32 x 32 x 3       10   2,117,962         21.9 M  two convolutions" in lines[1]
    (mobilenet,) = (line for line in lines if line.startswith("MobileNet"))
    assert "224 x 224 x 3    1,000   4,231,976" in mobilenet
    assert mobilenet.endswith("weights: imagenet")


@pytest.mark.usefixtures("few")
def test_list_as_json_has_the_numbers_for_the_images_asked_for(capsys):
    words = ["--image-size", "30", "--channels", "1", "--classes", "4", "--json"]
    assert cli.main(["models", *words]) == 0
    tree = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in tree["models"]}
    cae = build_model(Cae(name="cae"), (30, 30, 1), 4)
    assert rows["cae"]["num_parameters"] == cae.count_params()
    assert rows["cae"]["multiply_adds"] == count_multiply_adds(cae)
    assert (rows["cae"]["image_size"], rows["cae"]["num_classes"]) == (30, 4)
    assert "model.patch_size: got 4" in rows["vit"]["problem"]
    assert rows["vit"]["multiply_adds"] is rows["keras_file"]["multiply_adds"] is None
    (mobilenet,) = tree["applications"]
    assert mobilenet["name"] == "MobileNet"
    assert mobilenet["weights"] == "imagenet"
    # Howard et al. 2017 (arXiv:1704.04861, table 4): 4.2 million.
    assert mobilenet["num_trainable_parameters"] == 4_231_976


@pytest.mark.slow
def test_known_numbers_of_the_applications_are_those_of_the_built_models():
    known = {row.name: row.num_trainable_parameters for row in listing.known_applications()}
    request = listing.Request()
    built = {row.name: row.num_trainable_parameters for row in listing.list_applications(request)}
    assert known == built


@pytest.mark.usefixtures("few")
def test_list_of_all_has_the_numbers_of_the_applications_and_says_how_far_it_is(capsys):
    assert cli.main(["models", "--all"]) == 0
    printed = capsys.readouterr()
    assert "MobileNet (1 of 40)" in printed.err
    line = next(line for line in printed.out.splitlines() if line.startswith("MobileNet"))
    # Howard et al. 2017 (arXiv:1704.04861, table 4): 4.2 million parameters, 569 million.
    assert "224 x 224 x 3    1,000   4,231,976          569 M" in line


def test_list_on_another_rank_says_nothing(capsys, monkeypatch):
    monkeypatch.setenv("HOROVOD_RANK", "1")
    monkeypatch.setenv("HOROVOD_SIZE", "2")
    assert cli.main(["models"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("words", [["--image-size", "0"], ["--classes", "x"], ["--channels", "2"]])
def test_list_for_impossible_images_is_refused(words, capsys):
    assert cli.exit_code_of(lambda: cli.main(["models", *words])) == 2
    assert capsys.readouterr().err.startswith("error: ")
