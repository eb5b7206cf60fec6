"""`train.determinism: true`: equal bits on several threads, stopped and continued or not."""

import pytest

from tests.support.fault_injection import POLL_ALWAYS
from tests.support.survival import result_of, run_to_the_end, run_with_fault
from tests.support.trainings import TRAININGS

GROUP = "5.5: train.determinism"
DETERMINISTIC = "--train.determinism=true"
# With one thread, TensorFlow's sums are the same every time without the switch.
ENVIRONMENT = {"TF_NUM_INTRAOP_THREADS": "2", "OMP_NUM_THREADS": "2", POLL_ALWAYS: "1"}

# The training, and what is added to it.
MORE = {
    "synchronised batch statistics": (
        "plain",
        ("--synchronization.batch_normalization=synchronized",),
    ),
    "all kinds of augmentation": (
        "quarantined",
        (
            "--augment=[{name: random_crop, padding: 1}, {name: random_flip}, "
            "{name: random_rotation, degrees: 10}, {name: colour_jitter}, "
            "{name: random_greyscale}, {name: rand_augment}, {name: trivial_augment}, "
            "{name: random_erasing}, {name: cutout, size: 3}, {name: mixup}, {name: cutmix}]",
        ),
    ),
    "delayed": ("plain", ("--synchronization.mode=delayed",)),
    "local_sgd": ("plain", ("--synchronization.mode={name: local_sgd, period: 4}",)),
    "int8": ("plain", ("--synchronization.compression=int8",)),
    "class_sharded": ("plain", ("--model.head=class_sharded", "--train.lookahead=null")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for the images of all trainings."""
    return tmp_path_factory.mktemp("images")


def require_equal_bits(directory, size, options, fault):
    """Requires that a run that is stopped and continued ends as one that never was."""
    options = (*options, DETERMINISTIC)
    results = []
    for name in ("stopped", "whole"):
        (directory / name).mkdir()
        if name == "stopped":
            stopped = run_with_fault(
                directory / name, fault, size=size, options=options, environment=ENVIRONMENT
            )
            assert stopped.exit_code == 75, stopped.output
        outcome = run_to_the_end(
            directory / name, size=size, options=options, environment=ENVIRONMENT
        )
        assert ("continuing run" in outcome.output) == (name == "stopped"), outcome.output
        results.append(result_of(directory / name, outcome))
    assert results[0] == results[1]


@pytest.mark.timeout(300)
@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP)
def test_a_deterministic_run_of_two_ranks_ends_in_the_same_bits(folder, tmp_path):
    options = TRAININGS["plain"](folder).options
    require_equal_bits(tmp_path, 2, options, "term@after_step:rank=1:step=40")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP)
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", TRAININGS)
def test_deterministic_runs_with_everything_end_in_the_same_bits(name, size, folder, tmp_path):
    options = TRAININGS[name](folder).options
    require_equal_bits(tmp_path, size, options, f"term@after_step:rank={size - 1}:step=12")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.ranks(2)
@pytest.mark.matrix(GROUP)
@pytest.mark.parametrize("name", MORE)
def test_deterministic_runs_of_each_way_end_in_the_same_bits(name, folder, tmp_path):
    training, added = MORE[name]
    options = (*TRAININGS[training](folder).options, *added)
    require_equal_bits(tmp_path, 2, options, "term@after_step:rank=1:step=20")
