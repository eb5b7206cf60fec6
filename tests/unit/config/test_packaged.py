"""Pipelines that are installed with the package are found by name."""

import pytest

from hvd_imgcls.config import load_config
from hvd_imgcls.config.reading.packaged import find_pipeline, pipeline_names
from hvd_imgcls.errors import ConfigError


def test_names_are_those_of_the_files_and_work_in_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"digits_cnn", "finetune_folder"} <= set(pipeline_names())
    for name in pipeline_names():
        assert load_config(name) == load_config(f"pipelines/{name}.yaml")


def test_a_file_comes_before_an_installed_pipeline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits_cnn").touch()
    assert str(find_pipeline("digits_cnn")) == "digits_cnn"
    with pytest.raises(ConfigError, match=r"other\.yaml: got .*or one of cifar10_fast, "):
        load_config("other.yaml")
    with pytest.raises(ConfigError, match=r"^digits: got .*, digits_cnn, "):
        load_config("digits")
