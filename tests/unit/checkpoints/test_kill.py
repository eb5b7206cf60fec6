"""A process that writes checkpoints is killed after each of its calls to the file system."""

import pytest

from tests.support.checkpoint_scenarios import SCENARIOS, calls_of, fresh_copy, require_sound

CASES = [(name, k) for name in SCENARIOS for k in range(len(calls_of(name)[0]) + 1)]
WRITES = [(name, k) for name, k in CASES if k and calls_of(name)[0][k - 1] == "write"]


def kill(process, templates, folder, name, number, **how):
    directory = fresh_copy(templates / name, folder)
    process.kill(directory, name, number, **how)
    has_written = number >= calls_of(name)[1]
    require_sound(directory, SCENARIOS[name].allowed(has_written))


@pytest.mark.parametrize(("name", "number"), CASES)
def test_killed_after_a_call(process, templates, folder, name, number):
    kill(process, templates, folder, name, number)


@pytest.mark.parametrize(("name", "number"), WRITES)
def test_killed_within_a_write(process, templates, folder, name, number):
    kill(process, templates, folder, name, number, is_within=True)
