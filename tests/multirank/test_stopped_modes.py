"""Runs in each synchronization mode and compression that are stopped, and continued."""

import pytest

from tests.multirank.test_stops import stop
from tests.support.survival import OPTIONS, result_of, run_to_the_end, twin

WAYS = {
    "delayed": "{mode: {name: delayed, warmup_steps: 5}}",
    "local_sgd": "{mode: {name: local_sgd, period: 4}}",
    "local_sgd with all": "{mode: {name: local_sgd, period: 4, warmup_steps: 3, "
    "outer_momentum: 0.5, nesterov: true}, compression: {name: int8, block_size: 32}}",
    "averaged momenta": "{mode: {name: local_sgd, period: 4, optimizer_state: average}}",
    "power_sgd": "{compression: {name: power_sgd, warmup_steps: 8}}",
    "sharded": "{shard_optimizer_state: true}",
    "delayed top_k": "{mode: delayed, compression: {name: top_k, fraction: 0.1}}",
    "class_sharded": "{}",
}
# The first within the warm-ups, the others within a period.
MOMENTS = (
    ("term", "after_step:step=2"),
    ("kill", "before_step:step=25"),
    ("term", "after_step:step=47"),
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.ranks(2)
@pytest.mark.matrix("modes: stopped and continued", cases=3)
@pytest.mark.parametrize("name", WAYS)
def test_each_mode_goes_on(name, tmp_path):
    options = (*OPTIONS, f"--synchronization={WAYS[name]}")
    if name == "sharded":
        options += ("--train.lookahead=null",)
    if name == "class_sharded":
        options += ("--model.head=class_sharded",)
    for action, moment in MOMENTS:
        stop(tmp_path, action, moment, 2, options)
    outcome = run_to_the_end(tmp_path, size=2, options=options)
    assert result_of(tmp_path, outcome) == twin(2, options)
