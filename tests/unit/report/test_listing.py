"""The table of the runs in a directory."""

import json
import os
import re

import pytest

from hvd_imgcls import cli
from hvd_imgcls.config import parse_config, to_yaml
from hvd_imgcls.workflows.report.listing import HEADER, list_runs
from tests.unit.report.test_report import PIPELINE


def write(path, *overrides, top1=None, damage=False):
    path.mkdir(parents=True)
    config = to_yaml(parse_config(PIPELINE, overrides, origin="x.yaml"))
    (path / "config.yaml").write_text("[" if damage else config)
    (path / "plan.json").write_text(json.dumps({"num_epochs": 3}))
    (path / "metrics.jsonl").write_text('{"epoch": 1}\n' * (2 if top1 is None else 3))
    if top1 is not None:
        metrics = {"top1": top1, "balanced_accuracy": 0.5, "loss": 1.25}
        (path / "evaluation.json").write_text(json.dumps(metrics))
        (path / "summary.json").write_text(json.dumps({"seconds": {"total": 75.0}}))
    number = len(list(path.parent.iterdir()))
    os.utime(path / "config.yaml", (number, number))


def cells(line):
    return re.split(" {2,}", line)


def test_runs_are_listed_with_metrics_state_and_what_differs(tmp_path, monkeypatch, capsys):
    write(tmp_path / "runs" / "b", top1=0.75)
    write(tmp_path / "runs" / "a", "--optimizer={name: adam}", "--run_dir=elsewhere")
    write(tmp_path / "runs" / "c", "--train.seed=4", top1=0.5)
    write(tmp_path / "runs" / "d", damage=True)
    (tmp_path / "runs" / "notes").mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert cells(lines[0]) == list(HEADER)
    assert cells(lines[1]) == [
        "b",
        "finished",
        "3 of 3",
        "0.7500",
        "0.5000",
        "1.2500",
        "1 min 15 s",
    ]
    row = cells(lines[2])
    assert row[:7] == ["a", "killed", "2 of 3", "-", "-", "-", "-"]
    assert row[7] == "optimizer.name: adam"
    assert cells(lines[3])[-1] == "train.seed: 4"
    assert cells(lines[4])[0] == "d"
    assert cells(lines[4])[1].startswith("damaged: ")
    assert len(lines) == 5
    # One run, by its own directory.
    assert len(list(list_runs(tmp_path / "runs" / "b"))) == 2


@pytest.mark.parametrize("where", ["absent", "empty"])
def test_a_place_without_runs_is_said(tmp_path, capsys, where):
    (tmp_path / "empty").mkdir()
    assert cli.exit_code_of(lambda: cli.main(["runs", str(tmp_path / where)])) == 2
    assert f"{where}, which " in capsys.readouterr().err
