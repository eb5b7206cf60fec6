"""What is around the states of a run that continues: files, versions, images."""

import json

import pytest

from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.config import load_config
from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.errors import CheckpointError, ConfigError
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.workflows.training.saving.resuming import (
    Resumed,
    appended_files,
    changed_versions,
    cut_to,
    describe_resumption,
    lengths_of,
    read_newest,
)

FACTS = {"data": "abc", "size": 2, "versions": {"keras": "3.15", "numpy": "2"}}


def written(tmp_path, facts):
    files = RunDir(tmp_path)
    CheckpointStore(files.checkpoints).write(7, {"record": {"x": 1}}, [{"record": {"x": 2}}], facts)
    return files


def test_lines_written_after_the_checkpoint_are_removed(tmp_path, caplog):
    config = load_config("digits_cnn", ["--callbacks=[{name: csv_logger, file: a.csv}]"])
    files = RunDir(tmp_path)
    paths = appended_files(config, files)
    assert {path.name for path in paths} == {
        "metrics.jsonl",
        "pretraining.jsonl",
        "nodes.jsonl",
        "quarantine.jsonl",
        "a.csv",
    }
    files.metrics.write_text("one\n")
    (tmp_path / "a.csv").write_text("head\n")
    lengths = lengths_of(paths)
    assert lengths == {"metrics.jsonl": 4, "a.csv": 5}
    files.metrics.write_text("one\ntwo\nhalf of thr")
    files.quarantine.write_text("later\n")
    (tmp_path / "a.csv").write_text("he")
    cut_to(paths, lengths)
    assert files.metrics.read_text() == "one\n"
    assert files.quarantine.read_text() == ""
    assert "a.csv: lines are missing" in caplog.text


def test_states_of_all_ranks_come_back_with_what_is_known(tmp_path):
    files = written(tmp_path, FACTS)
    resumed = read_newest(files, FACTS, SingleProcessCollectives())
    assert resumed.step == 7
    assert resumed.facts == FACTS
    assert [states["record"]["x"] for states in resumed.states_by_rank] == [1, 2]
    assert read_newest(RunDir(tmp_path / "new"), FACTS, SingleProcessCollectives()) is None


def test_other_images_are_an_error_that_names_the_run(tmp_path):
    files = written(tmp_path, FACTS)
    with pytest.raises(ConfigError, match=f"other images .*{tmp_path}"):
        read_newest(files, {**FACTS, "data": "def"}, SingleProcessCollectives())


def test_a_damaged_checkpoint_is_never_the_beginning(tmp_path, caplog):
    files = written(tmp_path, FACTS)
    (files.checkpoints / "step-00000007" / "state.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"state\.bin"):
        read_newest(files, FACTS, SingleProcessCollectives())


def test_the_line_says_what_is_continued(tmp_path):
    facts = {"phase": "training", "epoch": 2, "size": 2, "saved": "2026-11-29T06:44:00+00:00"}
    resumed = Resumed(step=1234, facts=facts, states_by_rank=[])
    line = describe_resumption(resumed, RunDir(tmp_path), {"size": 1})
    assert "after step 1,234 of training, epoch 3: saved " in line
    assert line.endswith("2026-11-29 06:44 UTC, on 2 ranks; now 1")
    assert "begins again" in describe_resumption(None, RunDir(tmp_path), {"size": 1})


def test_changed_versions_are_named():
    now = {"versions": {"keras": "3.16", "numpy": "2", "new": "1"}}
    resumed = Resumed(step=1, facts=json.loads(json.dumps(FACTS)), states_by_rank=[])
    assert changed_versions(resumed, now) == ["keras 3.15 then, 3.16 now"]
