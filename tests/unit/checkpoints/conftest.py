"""Stores with some checkpoints, for tests with faults."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.support.checkpoint_kills import KillingProcess
from tests.support.checkpoint_scenarios import SCENARIOS

# Modules with a test for every call to the file system, or every file: some are run by `make test`.
EXHAUSTIVE = ("kill", "power_loss", "write_errors", "read_errors", "corruption")
EVERY = 8


def pytest_collection_modifyitems(items):
    """Counts all tests of this folder as one group, and leaves most of them to `make test-all`."""
    mine = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.matrix("H: checkpoint files"))
    cases = [item for item in mine if hasattr(item, "callspec")]
    for module in EXHAUSTIVE:
        found = [item for item in cases if item.path.stem == f"test_{module}"]
        for number, item in enumerate(found):
            if number % EVERY:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """A folder with the store of every scenario before it begins, by name."""
    folder = tmp_path_factory.mktemp("templates")
    for name, scenario in SCENARIOS.items():
        scenario.prepare(folder / name)
    return folder


@pytest.fixture(scope="module")
def folder():
    """A folder for copies of these stores; in memory, where directories are removed faster."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def process():
    """A process that starts and kills others."""
    process = KillingProcess()
    yield process
    process.close()
