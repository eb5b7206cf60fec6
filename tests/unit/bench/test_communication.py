import argparse
import math

import pytest

from hvd_imgcls import cli
from hvd_imgcls.bench.communication import bytes as bytes_bench
from hvd_imgcls.bench.communication import settings, slow_network
from hvd_imgcls.bench.communication.arithmetic import (
    KIB,
    MIB,
    bus_bandwidth,
    message_sizes,
    ring_seconds,
    ring_share,
    step_bytes,
)
from hvd_imgcls.bench.communication.bandwidths import summarize, table_of
from hvd_imgcls.bench.communication.overlap import overlap
from hvd_imgcls.bench.communication.page import write_plots
from hvd_imgcls.bench.communication.ways import WAYS, Way, chosen
from hvd_imgcls.bench.communication.work import ALONE, OURS, PLAIN, RAW, StepWork, as_argument
from hvd_imgcls.errors import ConfigError


@pytest.mark.parametrize("size", [2, 3, 4, 64])
def test_bus_bandwidth_of_a_perfect_ring_is_the_rate_of_its_links(size):
    rate, num_bytes = 12.5e6, 64e6
    # Each rank sends N - 1 parts of the sum, and then N - 1 parts of the result.
    seconds = 2 * (size - 1) * (num_bytes / size) / rate
    assert bus_bandwidth(num_bytes, size, seconds) == pytest.approx(rate)
    assert ring_seconds(num_bytes, size, 0.0, rate) == pytest.approx(seconds)
    assert step_bytes(1_000_000, size) == pytest.approx(4e6 * ring_share(size))


def test_a_ring_waits_half_a_round_trip_for_each_of_its_messages():
    assert ring_seconds(0, 2, 0.010, 1.0) == pytest.approx(0.010)
    assert ring_seconds(0, 4, 0.010, 1.0) == pytest.approx(0.030)


def test_sizes_go_from_1_kib_to_128_mib():
    sizes = message_sizes()
    assert (sizes[0], sizes[-1]) == (KIB, 128 * MIB)
    assert sizes == sorted(set(sizes))
    assert all(one % 4 == 0 for one in sizes)
    assert MIB in sizes


def measured(ours, raw):
    """Results of 4 ranks over 12.5 MB/s and 10 ms, with two turns for each of two sizes."""
    return {
        "ranks": 4,
        "link": {"round trip seconds": 0.01, "bytes per second": 12.5e6},
        "sizes": [
            {"bytes": KIB, "seconds": {OURS: [0.06, 0.06], RAW: [0.03, 0.03]}},
            {"bytes": 4 * MIB, "seconds": {OURS: ours, RAW: raw}},
        ],
    }


def test_summary_has_bandwidth_bound_and_speed_relative_to_the_raw_backend():
    summary = summarize(measured([0.8, 1.0], [0.8, 0.9]))
    small, large = summary["sizes"]
    assert large["seconds"][OURS] == pytest.approx(0.9)
    assert large["bus bandwidth"][OURS] == pytest.approx(1.5 * 4 * MIB / 0.9)
    bound = 0.03 + 1.5 * 4 * MIB / 12.5e6
    assert large["seconds"]["bound"] == pytest.approx(bound)
    assert large["share of bound"] == pytest.approx(bound / 0.9)
    # Speeds: the raw one takes 0.8 and 0.9 of our time.
    assert large["ratio"]["ratio"] == pytest.approx(math.sqrt(0.9), abs=1e-3)
    assert small["ratio"]["ratio"] == pytest.approx(0.5)
    verdict = summary["speed from 1 MiB"]
    assert verdict["ratio"] == pytest.approx(math.sqrt(0.9), abs=1e-3)
    assert not verdict["reached"]
    assert summarize(measured([0.8, 0.9], [0.8, 0.9]))["speed from 1 MiB"]["reached"]


def test_table_has_a_row_per_size_and_the_other_side_only_if_it_was_measured():
    table = table_of(summarize(measured([0.8, 1.0], [0.8, 0.9])))
    assert [row[0] for row in table] == ["message", "1 KiB", "4 MiB"]
    assert {len(row) for row in table} == {7}
    alone = measured([0.8], [])
    alone["sizes"] = [{"bytes": KIB, "seconds": {OURS: [0.06]}}]
    summary = summarize(alone)
    assert "speed from 1 MiB" not in summary
    assert {len(row) for row in table_of(summary)} == {5}


def test_plots_are_one_page(tmp_path):
    page = tmp_path / "page.html"
    write_plots(page, {"4 ranks": summarize(measured([0.8, 1.0], [0.8, 0.9]))})
    text = page.read_text()
    assert "Bus bandwidth of allreduce, 4 ranks" in text
    for part in ("raw gloo", "a ring over plain TCP", "the link over TCP", "4 MiB"):
        assert part in text
    # Self-contained.
    assert "<script src" not in text
    assert "<link" not in text


def steps_of(**payload):
    """What two ranks have sent in 10 steps of 1,000 weights: a payload per step and packets."""

    def sent(num_bytes):
        return {"bytes": 10 * num_bytes + 520, "packets": 10, "dropped": 0}

    return {
        "ranks": 2,
        "weights": 1000,
        "steps": 10,
        "arms": {
            name: {"sent by ranks": [sent(num_bytes - 100), sent(num_bytes)]}
            for name, num_bytes in payload.items()
        },
    }


def test_bytes_are_those_of_the_rank_that_sends_most_without_headers():
    found = bytes_bench.shares(steps_of(none=4010), Way("none", dict, most_bytes=1.005))
    assert found["payload"] == pytest.approx(4010 / 4000)
    assert found["headers"] == pytest.approx(52 / 4000)
    assert found["total"] == pytest.approx(found["payload"] + found["headers"])
    assert found["bytes per step by rank"] == [3962, 4062]
    assert found["reached"]
    assert not bytes_bench.shares(steps_of(none=4030), Way("none", dict, 1.005))["reached"]
    assert "goal" not in bytes_bench.shares(steps_of(none=4030), Way("none", dict))


def test_times_of_steps_are_compared_with_plain_horovod_and_with_no_communication():
    turns = {PLAIN: [4.0, 4.4], "none": [3.0, 3.3], ALONE: [0.5, 0.5]}
    summary = slow_network.summarize(
        {
            "ranks": 2,
            "weights": 12_500_000,
            "link before": {"round trip ms": 10.0, "Mbit/s": 100.0},
            "arms": {name: {"seconds": seconds} for name, seconds in turns.items()},
        }
    )
    assert summary["expected seconds"] == pytest.approx(0.5 + 4.0 + 0.01)
    ours = summary["step times"]["none"]["relative to"]
    assert ours[PLAIN]["ratio"] == pytest.approx(0.75)
    assert ours[ALONE]["ratio"] == pytest.approx(math.sqrt(6 * 6.6), abs=1e-3)
    assert PLAIN not in summary["step times"][PLAIN]["relative to"]


def test_ways_are_chosen_by_name():
    assert chosen([]) == list(WAYS)
    assert [way.name for way in chosen(["fp16"])] == ["fp16"]
    assert len({way.name for way in WAYS}) == len(WAYS)
    with pytest.raises(ConfigError, match=r"--ways.*int5.*none, fp16"):
        chosen(["int5"])


def test_work_survives_the_format_of_results():
    work = StepWork(arms=("none",), rounds=2, steps=3)
    assert as_argument(work).format(result="x") == (
        '{"arms": ["none"], "rounds": 2, "steps": 3, "compute_seconds": 0.0}'
    )


@pytest.mark.parametrize(
    "words",
    [
        ["allreduce", "--ranks", "1"],
        ["allreduce", "--round-trip", "3"],
        ["allreduce", "--largest", "0"],
        ["allreduce", "--compute", "1"],
        ["bytes", "--rate", "0.1"],
        ["bytes", "--ranks", "5"],
        ["bytes", "--plot", "x.html"],
        ["slow-network", "--compute", "-1"],
        ["overlap", "--groups", "0"],
        ["overlap", "--round-trip", "10"],
        ["slow-network", "--ways", "int5"],
        ["step", "--rate", "100"],
    ],
)
def test_options_that_cannot_be_are_refused(words, capsys):
    assert cli.exit_code_of(lambda: cli.main(["bench", *words])) == 2
    error = capsys.readouterr().err
    assert words[1] in error or "hosts of the network" in error


def test_other_benchmarks_refuse_a_launcher(monkeypatch, capsys):
    monkeypatch.setenv("HOROVOD_RANK", "0")
    monkeypatch.setenv("HOROVOD_SIZE", "2")
    assert cli.exit_code_of(lambda: cli.main(["bench", "step"])) == 2
    assert "expected no launcher" in capsys.readouterr().err
    assert cli.exit_code_of(lambda: cli.main(["bench", "allreduce", "--rate", "10"])) == 2
    assert "--rate" in capsys.readouterr().err


def test_defaults_are_those_of_the_help():
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--torch-python")
    settings.add_arguments(parser)
    arguments = parser.parse_args(["bytes"])
    arguments.pairs = 1
    found = settings.settings_of(arguments)
    assert (found.ranks, found.largest, found.compute_seconds) == ((2, 4), 128, None)
    assert slow_network.COMPUTE_SECONDS == 0.5
    assert found.link(2).rate_mbit == 100
    assert found.link(2).round_trip_ms == 10


def test_overlap_is_relative_to_the_longer_of_both_and_to_one_group():
    turns = {
        "communicating": [1.0, 3.0],
        "computing": [2.0, 2.0],
        "delayed": [2.2, 3.3],
        "1 group": [3.0, 5.0],
        "4 groups": [2.4, 4.0],
    }
    steps = overlap.summarize(turns)
    assert steps["delayed"]["relative to the longer"]["ratio"] == pytest.approx(1.1)
    assert steps["delayed"]["goal"] == 1.15
    assert steps["4 groups"]["relative to one group"]["ratio"] == pytest.approx(0.8)
    assert "relative to one group" not in steps["1 group"]
    assert "relative to the longer" not in steps["computing"]
