import ast
import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hvd_imgcls.bench.measuring import window
from hvd_imgcls.bench.measuring.turns import Arm, _command, measure, speed_ratio, time_ratio
from hvd_imgcls.bench.measuring.window import cpu_seconds, others_run, wait_until_at_rest
from hvd_imgcls.errors import HvdImgclsError


def arm(name, *words):
    return Arm(
        name, "tests.support.arm", [str(word) for word in words], min(os.sched_getaffinity(0))
    )


def test_a_turn_pays_for_what_it_left_to_be_done():
    with arm("with", 0.05, 0.2) as with_rest, arm("without", 0.05, 0.0) as without:
        times = measure([with_rest, without], 3)
    for clock in ("wall", "cpu"):
        assert [len(times[name][clock]) for name in ("with", "without")] == [3, 3]
        # Seconds per unit, of which there are two.
        assert min(times["with"][clock]) >= 0.125
        assert min(times["without"][clock]) >= 0.025
    assert max(times["without"]["cpu"]) < min(times["with"]["cpu"])


def test_an_arm_that_ends_says_why():
    with (
        pytest.raises(HvdImgclsError, match=r"(?s)'odd' ended.*this arm is broken"),
        arm("odd", "fail", 0) as odd,
    ):
        odd.get_ready()


def test_rest_begins_when_the_last_thread_stops():
    # Without Python's lock, as TensorFlow's threads work: it is running all the time.
    thread = threading.Thread(
        target=hashlib.pbkdf2_hmac, args=["sha256", b"password", b"salt", 1_000_000]
    )
    began = time.process_time()
    thread.start()
    deadline = time.perf_counter() + 10
    while not others_run():
        assert time.perf_counter() < deadline
    wall, cpu = wait_until_at_rest()
    thread.join(0.5)
    assert not thread.is_alive()
    assert cpu - began >= 0.1
    assert wall <= time.perf_counter()


def test_the_time_of_children_counts():
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    began = cpu_seconds()
    deadline = time.perf_counter() + 30
    while cpu_seconds() - began < 0.2:
        assert time.perf_counter() < deadline
        assert others_run()
        time.sleep(0.05)
    child.kill()
    child.wait()
    assert time.process_time() - began < 0.2


def test_other_environments_run_the_file_and_can_import_the_protocol():
    python, script = _command("tests.support.arm", Path("/environment/bin/python"))
    assert python == "/environment/bin/python"
    assert Path(script).samefile(Path(__file__).parents[2] / "support" / "arm.py")
    tree = ast.parse(Path(window.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


TIMES = {"fast": {"wall": [0.1, 0.1], "cpu": [0.05, 0.05]},
         "slow": {"wall": [0.4, 0.4], "cpu": [0.1, 0.1]}}  # fmt: skip


def test_speed_is_judged_by_cpu_time_and_above_one_is_faster():
    result = speed_ratio(TIMES, "fast", "slow", goal=1.9, unit="images")
    assert result["ratio"]["wall"]["ratio"] == pytest.approx(4)
    assert result["ratio"]["cpu"]["ratio"] == pytest.approx(2)
    assert result["reached"]
    assert result["figures"]["fast"]["wall"] == pytest.approx(10)
    assert "fast 20, slow 10" in result["text"]
    assert not speed_ratio(TIMES, "fast", "slow", goal=2.1, unit="images")["reached"]


def test_time_of_steps_is_judged_by_cpu_time_and_below_one_is_faster():
    result = time_ratio(TIMES, "fast", "slow", goal=0.5)
    assert result["ratio"]["wall"]["ratio"] == pytest.approx(0.25)
    assert result["reached"]
    assert "fast 50.00, slow 100.00" in result["text"]
    assert not time_ratio(TIMES, "slow", "fast", goal=1.03)["reached"]


def test_ratios_without_a_goal_are_not_judged():
    result = time_ratio(TIMES, "slow", "fast", goal=None, unit="image")
    assert not {"goal", "reached"} & set(result)
    assert "ms per image" in result["text"]
