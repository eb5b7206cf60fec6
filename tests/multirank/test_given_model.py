"""A user's own model on several ranks."""

import pytest

from hvd_imgcls.config import parse_config
from hvd_imgcls.errors import RankMismatchError
from tests.support.launch import run_on_ranks

PIPELINE = """
data: {source: {name: digits}}
model: {name: given}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 64, num_steps: 4}
"""


def own_model(num_units, seed):
    import keras

    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(num_units),
            keras.layers.Dense(10),
        ]
    )


def train_here(folder):
    from hvd_imgcls import distributed, logs
    from hvd_imgcls.workflows.train import train

    # The second run of a process: thread counts can be set no more.
    distributed.devices.configure = lambda **_: None
    rank = distributed.start().topology.rank
    outcomes = []
    for num_more in (0, rank):
        run_dir = folder / f"run-{len(outcomes)}"
        config = parse_config(PIPELINE, [f"--run_dir={run_dir}"], origin="x.yaml")
        try:
            result = train(config, model=own_model(4 + num_more, seed=rank))
            outcomes.append(result.weights_digest)
        except RankMismatchError as error:
            outcomes.append(str(error))
    logs.stop()
    return outcomes


@pytest.mark.ranks(2)
def test_given_models_start_from_the_root_and_must_have_one_shape(tmp_path):
    first, second = run_on_ranks(train_here, 2, arguments=(tmp_path,), fresh=True)
    assert first == second
    digest, refusal = first
    assert len(digest) == 16
    assert "[64, 4] float32 kernel on rank 0, [64, 5] float32 kernel on rank 1" in refusal
    assert "pass the same model on every rank" in refusal
