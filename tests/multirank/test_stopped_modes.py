"""Runs in each synchronization mode and compression that are stopped, and continued."""

import re

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
    "drawn classes": "{}",
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
    if name == "drawn classes":
        # Few images in a batch, so that not all ten classes are drawn because of them.
        head = "--model.head={name: class_sharded, sampled_fraction: 0.6}"
        options += (head, "--train.global_batch_size=8", "--train.num_epochs=1")
        options += ("--schedule.warmup_epochs=0",)
    for action, moment in MOMENTS:
        stop(tmp_path, action, moment, 2, options)
    outcome = run_to_the_end(tmp_path, size=2, options=options)
    assert result_of(tmp_path, outcome) == twin(2, options)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.ranks(2)
@pytest.mark.matrix("modes: stopped and continued", cases=3)
def test_a_measured_choice_goes_on(tmp_path):
    """Whatever is measured: the weights are those of a run with the same compression throughout."""
    section = "{name: auto, candidates: [int8, bf16], min_gain: 0, rounds: 2}"
    options = (*OPTIONS, f"--synchronization.compression={section}")
    outputs = [stop(tmp_path, *one, 2, options).output for one in MOMENTS]
    outcome = run_to_the_end(tmp_path, size=2, options=options)
    outputs.append(outcome.output)
    # Measured in the first 9 steps, of which the first process has done two or three.
    chosen = [re.findall(r"compression (\w+)[:,] (no other|which shortens)", o) for o in outputs]
    assert [len(one) for one in chosen] == [0, 1, 0, 0]
    name = chosen[1][0][0]
    assert all(f"compression {name}, as measured before" in one for one in outputs[2:])
    fixed = "none" if name == "none" else f"{{name: {name}, warmup_steps: 9}}"
    expected = twin(2, (*OPTIONS, f"--synchronization.compression={fixed}"))
    got = result_of(tmp_path, outcome)
    assert got[0] == expected[0]
    lines, others = got[1]["metrics.jsonl"], expected[1]["metrics.jsonl"]
    assert [line.pop("compression") for line in lines] == [name] * len(lines)
    for line in (*lines, *others):
        assert line.pop("sent_bytes_per_step") > 0
    assert lines == others
