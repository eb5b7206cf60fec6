"""Commands that start at the same moment: each run has exactly one of them."""

import multiprocessing
import os
from collections import Counter

import pytest

from hvd_imgcls.config import load_config, to_yaml
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.run_directory import lock
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.run_directory.status import State, write_status
from hvd_imgcls.workflows.startup.run_place import take_place

ROUNDS, COMMANDS = 12, 3
SECONDS = 60.0


def take_at_once(directory, overrides, barrier, results, without_lock):
    """Takes a place together with the other processes, once per round; holds it for the round."""
    if without_lock:
        lock.RunLock._take = lambda self: None
    for number in range(ROUNDS):
        os.chdir(f"{directory}/{number}")
        config = load_config("digits_cnn", overrides)
        barrier.wait(SECONDS)
        try:
            place = take_place(config, "digits")
        except ConfigError as error:
            results.put((number, "refused", str(error)))
            barrier.wait(SECONDS)
        else:
            kind = "continued" if place.is_continued else "begun"
            results.put((number, kind, str(place.files.path)))
            barrier.wait(SECONDS)
            place.lock.release()
        barrier.wait(SECONDS)


def all_at_once(directory, *overrides, unfinished=None, without_lock=False):
    """Returns for each round what happened to each command: (what, path or message)."""
    for number in range(ROUNDS):
        (directory / str(number)).mkdir()
        if unfinished is not None:
            files = RunDir(directory / str(number) / unfinished)
            files.path.mkdir(parents=True)
            files.config.write_text(to_yaml(load_config("digits_cnn", overrides)))
            write_status(files, State.STOPPED)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(COMMANDS), context.Queue()
    arguments = (str(directory), overrides, barrier, results, without_lock)
    processes = [context.Process(target=take_at_once, args=arguments) for _ in range(COMMANDS)]
    for process in processes:
        process.start()
    try:
        taken = [results.get(timeout=SECONDS) for _ in range(ROUNDS * COMMANDS)]
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    return [[rest for number, *rest in taken if number == one] for one in range(ROUNDS)]


@pytest.mark.matrix("commands at the same moment", cases=ROUNDS)
@pytest.mark.parametrize("unfinished", [None, pytest.param("here", marks=pytest.mark.slow)])
def test_of_commands_with_a_named_directory_one_is_taken(unfinished, tmp_path):
    for outcomes in all_at_once(tmp_path, "--run_dir=here", unfinished=unfinished):
        kinds = Counter(kind for kind, _ in outcomes)
        taken = "begun" if unfinished is None else "continued"
        assert kinds == {taken: 1, "refused": COMMANDS - 1}, outcomes
        for kind, text in outcomes:
            assert kind != "refused" or "is writing" in text


@pytest.mark.matrix("commands at the same moment", cases=ROUNDS)
@pytest.mark.parametrize(
    "unfinished", [pytest.param(None, marks=pytest.mark.slow), "runs/digits-1"]
)
def test_commands_without_a_name_have_a_directory_each(unfinished, tmp_path):
    for outcomes in all_at_once(tmp_path, unfinished=unfinished):
        assert sorted(path for _, path in outcomes) == [
            f"runs/digits-{number + 1}" for number in range(COMMANDS)
        ]
        continued = [path for kind, path in outcomes if kind == "continued"]
        assert continued == ([] if unfinished is None else [unfinished])


@pytest.mark.slow
@pytest.mark.matrix("negative controls")
def test_without_the_lock_two_take_one_directory(tmp_path):
    rounds = all_at_once(tmp_path, "--run_dir=here", without_lock=True)
    assert any(Counter(kind for kind, _ in one)["begun"] > 1 for one in rounds)
