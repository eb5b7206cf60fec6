"""The command line of `check-data`: which table it may write."""

import pytest

from hvd_imgcls import cli

PIPELINE = """
data: {source: {name: manifest, path: images.csv}, image_size: 8}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 2}
"""


@pytest.mark.parametrize("options", [[], ["--force"]])
def test_the_table_that_lists_the_images_is_never_replaced(tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images.csv").write_text("path,label\na.jpg,0\n")
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    (tmp_path / "link.csv").symlink_to("images.csv")
    for name in ("images.csv", "link.csv", str(tmp_path / "images.csv")):
        words = ["check-data", "pipeline.yaml", "--manifest", name, *options]
        assert cli.exit_code_of(lambda words=words: cli.main(words)) == 2
        said = capsys.readouterr().err
        assert "expected another file than the one that the source reads" in said
    assert (tmp_path / "images.csv").read_text().startswith("path,label")
