"""What the ranks exchange about their use, and what becomes of it in files."""

from __future__ import annotations

import json
import logging
import re

import numpy as np
import pytest

from hvd_imgcls.environment.host import GpuUsage, HostUsage
from hvd_imgcls.files.background_files import BackgroundFiles
from hvd_imgcls.workflows.progress import Record
from hvd_imgcls.workflows.progress.lines import TrainingStatus
from hvd_imgcls.workflows.progress.nodes.exchange import combine_usages, usage_of
from hvd_imgcls.workflows.progress.nodes.hosts import Host, group_hosts
from hvd_imgcls.workflows.progress.nodes.output import WINDOW_SECONDS, NodeFiles, NodeOutput
from hvd_imgcls.workflows.progress.nodes.prometheus import prometheus_text
from hvd_imgcls.workflows.progress.nodes.values import MOST_CURVES, curves_of_hosts

HOSTS = [Host("a", (0, 2)), Host("b", (1,))]
GPU = GpuUsage(share=0.5, memory_used_bytes=2e9, memory_total_bytes=8e9)


@pytest.mark.parametrize(
    ("names", "local_ranks", "expected"),
    [
        (["a", "a", "b", "b"], [0, 1, 0, 1], {"a": (0, 1), "b": (2, 3)}),
        # Round robin, as with `mpirun --map-by node`.
        (["a", "b", "a", "b"], [0, 0, 1, 1], {"a": (0, 2), "b": (1, 3)}),
        # Three containers with the name of one machine.
        (["a", "a", "a", "a"], [0, 1, 0, 0], {"a": (0, 1), "a (2)": (2,), "a (3)": (3,)}),
        (["a"], [0], {"a": (0,)}),
    ],
)
def test_ranks_are_grouped_by_host(names, local_ranks, expected):
    groups = group_hosts(names, local_ranks)
    assert {host.name: host.ranks for host in groups} == expected


def rows(load=1.0, memory=1e9, seconds=3.0):
    """The rows of three ranks on two hosts; rank 2 is the slowest."""
    host = HostUsage(seconds=seconds, load=load, num_cores=4, cpu_share=0.5, network_in=1e6)
    other = HostUsage(seconds=seconds, load=2 * load, gpus=(GPU, GPU))
    unknown = [float("nan")] * len(host.to_row())
    tail = [[2.0, 0.5, 0.3, 0.3], [2.0, 0.0, 0.2, 0.4], [2.0, 0.1, 0.1, 0.1]]
    of_hosts = [host.to_row(), other.to_row(), unknown]
    return np.array(
        [
            [seconds, 1.5, memory, *of_host, *times]
            for of_host, times in zip(of_hosts, tail, strict=True)
        ]
    )


def test_rows_of_ranks_become_use_and_waiting():
    usage = usage_of(rows(), [0, 1])
    assert usage.cores.tolist() == [0.5] * 3
    assert usage.times.rank_seconds.tolist() == pytest.approx([0.4, 0.4, 0.0])
    assert usage.times.slowest_rank == 2
    assert [host.load for host in usage.hosts] == [1.0, 2.0]
    assert [len(host.gpus) for host in usage.hosts] == [0, 2]
    both = combine_usages([usage, usage_of(rows(load=4.0, memory=3e9, seconds=1.0), [0, 1])])
    assert [host.load for host in both.hosts] == pytest.approx([1.75, 3.5])
    assert both.memory_bytes.tolist() == [3e9] * 3
    assert both.cores.tolist() == [0.75] * 3
    assert both.times.data_seconds.tolist() == pytest.approx([1.0, 0.0, 0.2])


class Clock:
    seconds = 1000.0

    def __call__(self):
        return self.seconds


def status(step=7, speed=100.0):
    return TrainingStatus(
        epoch=2,
        num_epochs=3,
        step=step,
        num_steps=30,
        logs={"loss": 0.5, "nan": float("nan")},
        is_of_this_rank=True,
        images_per_second=speed,
        seconds_left=12.0,
        waiting={},
    )


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def output(tmp_path, clock):
    files = NodeFiles(
        nodes=tmp_path / "nodes.jsonl",
        progress=tmp_path / "progress.json",
        prometheus=tmp_path / "run.prom",
    )
    return NodeOutput('run "1"', HOSTS, files, Record(clock=clock))


def lines(tmp_path):
    path = tmp_path / "nodes.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_window_is_a_line_for_each_host(tmp_path, output, clock):
    usage = usage_of(rows(), [0, 1])
    for step in range(4):
        clock.seconds += 3.0
        output.add(usage, status(step), "training", ends_epoch=False)
        assert len(lines(tmp_path)) == (2 if step == 3 else 0)
    first, second = lines(tmp_path)
    assert (first["host"], first["ranks"], first["step"], first["epoch"]) == ("a", [0, 2], 3, 2)
    assert first["seconds"] == 4 * 3 >= WINDOW_SECONDS
    assert (first["cpu_share"], first["network_in_bytes_per_second"]) == (0.5, 1_000_000)
    assert (first["rank_cores"], first["rank_memory_bytes"]) == ([0.5, 0.5], [10**9, 10**9])
    assert "gpus" not in first
    # What is unknown is null.
    assert (second["cores"], second["load"]) == (None, 2.0)
    assert [gpu["share"] for gpu in second["gpus"]] == [0.5, 0.5]


def test_windows_end_with_epochs_and_are_not_written_without_a_sample(tmp_path, output, clock):
    clock.seconds += 0.5
    output.add(usage_of(rows(seconds=0.5), [0, 1]), status(), "training", ends_epoch=True)
    assert lines(tmp_path) == []
    clock.seconds += 0.5
    output.add(usage_of(rows(seconds=0.5), [0, 1]), status(), "training", ends_epoch=True)
    assert [line["seconds"] for line in lines(tmp_path)] == [1.0, 1.0]
    clock.seconds += 20
    output.add(usage_of(rows(seconds=0.0), [0, 1]), status(), "training", ends_epoch=True)
    assert len(lines(tmp_path)) == 2
    output.add(usage_of(rows(seconds=0.3), [0, 1]), status(), "training", ends_epoch=False)
    output.flush()
    assert [line["seconds"] for line in lines(tmp_path)[2:]] == [0.3, 0.3]


def test_windows_of_a_long_run_are_longer(tmp_path, output, clock):
    clock.seconds += 100_000
    output.add(usage_of(rows(), [0, 1]), status(), "training", ends_epoch=False)
    assert len(lines(tmp_path)) == 2
    clock.seconds += 99
    output.add(usage_of(rows(), [0, 1]), status(), "training", ends_epoch=False)
    assert len(lines(tmp_path)) == 2
    clock.seconds += 2
    output.add(usage_of(rows(), [0, 1]), status(), "training", ends_epoch=False)
    assert len(lines(tmp_path)) == 4


def test_a_directory_that_cannot_be_written_is_a_warning(tmp_path, output, clock, caplog):
    (tmp_path / "nodes.jsonl").mkdir()
    for _ in range(3):
        clock.seconds += 20
        output.add(usage_of(rows(), [0, 1]), status(), "training", ends_epoch=False)
    output.close()
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "the use of the hosts could not be written" in warnings[0]


def test_progress_says_what_the_run_does(tmp_path, output, clock):
    output.add(usage_of(rows(), [0, 1]), status(), "training", ends_epoch=False)
    output.show("evaluation")
    output.close()
    shown = json.loads((tmp_path / "progress.json").read_text())
    assert (shown["activity"], shown["step"], shown["num_steps"]) == ("evaluation", 7, 30)
    assert shown["metrics"] == {"loss": 0.5}
    assert shown["slowest_rank"] == 2
    assert [rank["host"] for rank in shown["ranks"]] == ["a", "b", "a"]
    assert [rank["data_wait_share"] for rank in shown["ranks"]] == [0.25, 0.0, 0.05]
    assert [host["host"] for host in shown["hosts"]] == ["a", "b"]


def test_of_many_hosts_the_extremes_and_the_mean_are_curves():
    few = [{"host": f"h{n}", "load": float(n), "cpu_share": None} for n in range(MOST_CURVES)]
    assert curves_of_hosts(few) == {f"load/h{n}": float(n) for n in range(MOST_CURVES)}
    many = [*few, {"host": "last", "load": 100.0}]
    mean = (sum(range(MOST_CURVES)) + 100) / (MOST_CURVES + 1)
    assert curves_of_hosts(many) == {
        "load/lowest": 0.0,
        "load/mean": mean,
        "load/highest": 100.0,
    }


NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


def parse(text):
    """Parses Prometheus's text format 0.0.4; returns values by name and labels, and the types.

    Written from the description of the format: of the lines of one metric, HELP and TYPE come
    first and all samples follow; the file ends with a line break.
    """
    assert text.endswith("\n")
    assert "\r" not in text
    samples, types, helps, order = {}, {}, {}, []
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            _, kind, name, rest = line.split(" ", 3)
            assert NAME.fullmatch(name)
            known = {"HELP": helps, "TYPE": types}[kind]
            assert name not in known
            known[name] = rest
            continue
        name = NAME.match(line)[0]
        rest, labels = line[len(name) :], {}
        if rest.startswith("{"):
            position = 1
            while rest[position] != "}":
                found = LABEL.match(rest, position)
                assert found, line
                assert found[1] not in labels
                labels[found[1]] = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), found[2])
                position = found.end() + (rest[found.end()] == ",")
            rest = rest[position + 1 :]
        assert rest.startswith(" ")
        value = float(rest[1:])
        if not order or order[-1] != name:
            assert name not in order, f"lines of {name} are not together"
            order.append(name)
        key = (name, frozenset(labels.items()))
        assert key not in samples
        samples[key] = value
        assert types[name] == "gauge"
        assert helps[name]
    assert set(types) == set(helps) == set(order)
    return samples


def found(samples, name, **labels):
    return {
        tuple(dict(key[1])[label] for label in labels.values()): value
        for key, value in samples.items()
        if key[0] == f"hvd_imgcls_{name}"
    }


def test_prometheus_reads_what_the_run_does(tmp_path, output, clock):
    output.add(usage_of(rows(), [0, 1]), status(), "training", ends_epoch=False)
    output.close()
    samples = parse((tmp_path / "run.prom").read_text())
    assert {dict(labels)["run"] for _, labels in samples} == {'run "1"'}
    assert found(samples, "running") == {(): 0.0}
    assert found(samples, "step") == {(): 7.0}
    assert found(samples, "images_per_second") == {(): 100.0}
    assert found(samples, "metric", by="metric") == {("loss",): 0.5}
    assert found(samples, "rank_data_wait_ratio", a="host", b="rank") == {
        ("a", "0"): 0.25,
        ("b", "1"): 0.0,
        ("a", "2"): 0.05,
    }
    # What is unknown of a host is left out.
    assert found(samples, "host_cpu_ratio", by="host") == {("a",): 0.5}
    assert found(samples, "host_load", by="host") == {("a",): 1.0, ("b",): 2.0}
    assert found(samples, "gpu_ratio", a="host", b="gpu") == {("b", "0"): 0.5, ("b", "1"): 0.5}


@pytest.mark.parametrize("name", ['a"b\\c\nd', "é 日", "\udcff", "", "a{b}=,#"])
def test_names_cannot_break_the_format_of_prometheus(name):
    progress = {
        "metrics": {name: 1.0},
        "hosts": [],
        "ranks": [
            {
                "rank": 0,
                "host": name,
                "data_wait_share": None,
                "rank_wait_share": 1e-7,
                "cores": 1,
                "memory_bytes": 10**12,
            }
        ],
    }
    samples = parse(prometheus_text(name, progress, time=1.0, is_running=True))
    expected = name.replace("\udcff", "?")
    assert found(samples, "metric", a="run", b="metric") == {(expected, expected): 1.0}
    assert found(samples, "rank_peer_wait_ratio", a="host") == {(expected,): 1e-7}
    assert found(samples, "rank_memory_bytes") == {(): 1e12}


def test_the_newest_text_is_in_the_file_and_a_link_is_not_followed(tmp_path):
    other = tmp_path / "other"
    other.write_text("mine")
    path = tmp_path / "file"
    path.symlink_to(other)
    files = BackgroundFiles()
    for number in range(100):
        files.write(lambda number=number: {path: str(number)})
    files.close()
    assert path.read_text() == "99"
    assert other.read_text() == "mine"
    assert [one.name for one in tmp_path.iterdir() if "partial" in one.name] == []
