import csv
import json

import pyarrow.parquet as pq
import pytest

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.workflows.predicting.output import Prediction, require_format, write_predictions

PREDICTIONS = [
    Prediction('a, "b".png', ("cat", "dog"), (0.1 + 0.2, 1e-300)),
    Prediction("gone.png", error="No such file or directory"),
    Prediction("\udcff.png", ("dog", "cat"), (1.0, 0.0)),
]


def test_csv_reads_back_exactly(tmp_path):
    write_predictions(tmp_path / "out.csv", PREDICTIONS, 2)
    with (tmp_path / "out.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as f:
        first, bad, last = csv.DictReader(f)
    assert first["image"] == 'a, "b".png'
    assert [first["class_1"], first["class_2"]] == ["cat", "dog"]
    assert float(first["probability_1"]) == 0.1 + 0.2
    assert float(first["probability_2"]) == 1e-300
    assert (bad["class_1"], bad["error"]) == ("", "No such file or directory")
    assert (last["image"], last["error"]) == ("\udcff.png", "")


def test_json_lines_read_back_exactly(tmp_path):
    write_predictions(tmp_path / "out.jsonl", PREDICTIONS, 2)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[0]["predictions"][0] == {"class": "cat", "probability": 0.1 + 0.2}
    assert (lines[1]["predictions"], lines[1]["error"]) == ([], "No such file or directory")
    assert lines[2]["image"] == "\udcff.png"


def test_parquet_reads_back_exactly(tmp_path):
    write_predictions(tmp_path / "out.parquet", PREDICTIONS, 2)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows[0]["predictions"] == [
        {"class": "cat", "probability": 0.1 + 0.2},
        {"class": "dog", "probability": 1e-300},
    ]
    assert rows[1] == {
        "image": "gone.png",
        "predictions": [],
        "error": "No such file or directory",
    }
    assert rows[2]["image"] == "\\xff.png"


def test_other_formats_and_folders_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected a file name ending in \.csv"):
        require_format(tmp_path / "out.xlsx")
    with pytest.raises(ConfigError, match="create the folder"):
        require_format(tmp_path / "gone" / "out.csv")


@pytest.mark.parametrize("name", ["=1+1", "+1.jpg", "-rf.jpg", "@SUM(A1)", "\t=1", "'quoted"])
def test_text_is_no_formula_in_a_spreadsheet(tmp_path, name):
    path = tmp_path / "out.csv"
    write_predictions(path, [Prediction(name, (name,), (0.5,)), Prediction("a", error=name)], 1)
    with path.open(newline="") as file:
        _, first, second = csv.reader(file)
    assert first == ["'" + name, "'" + name, "0.5", ""]
    assert second == ["a", "", "", "'" + name]
