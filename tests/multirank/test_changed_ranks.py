"""A run goes on with other numbers of ranks: each example once per epoch, about the same loss."""

import itertools
import json
from collections import Counter

import pytest

from hvd_imgcls.data.sources.digits import Digits
from tests.support.ledger import LEDGER, account, digests
from tests.support.survival import ended, run_to_the_end, run_with_fault, running_with_fault

OPTIONS = (
    "--train.num_epochs=4",
    "--train.global_batch_size=48",
    "--train.last_batch=weighted",
    # The pixels of the digits themselves identify them.
    "--augment=[]",
    "--schedule={name: constant, base_learning_rate: 0.05, warmup_epochs: 0}",
    "--evaluation.every_epochs=2",
    "--checkpoint.every_steps=7",
    "--logging={tensorboard: false, report: false}",
)
STEPS_PER_EPOCH, EPOCHS = 30, 4
# In the middle of epochs: 30 steps in each.
LAUNCHES = (
    (4, "kill@before_step:rank=2:step=24"),
    (2, "term@before_step:rank=1:step=47"),
    (3, "kill@after_step:rank=2:step=75"),
    (1, ""),
)


def trained(directory, launches):
    """Runs the launches, one after the other, and returns the account of the examples."""
    entries = []
    for number, (size, fault) in enumerate(launches):
        ledger = directory / "ledger" / str(number)
        entries.append((ledger, size))
        environment = {LEDGER: str(ledger)}
        if fault:
            run_with_fault(directory, fault, size=size, options=OPTIONS, environment=environment)
            continue
        with running_with_fault(
            directory, "", size=size, options=OPTIONS, environment=environment
        ) as program:
            outcome = ended(program, within=200)
            assert outcome.exit_code == 0, outcome.output
    return account(entries)


def losses(directory):
    lines = (directory / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.ranks(4)
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.matrix("5.5 D6: other numbers of ranks, trained", cases=3)
def test_from_four_ranks_to_two_to_three_to_one_in_the_middle_of_epochs(tmp_path):
    changed, plain = tmp_path / "changed", tmp_path / "plain"
    changed.mkdir()
    plain.mkdir()
    epochs = trained(changed, LAUNCHES)
    once = Counter(digests(Digits(0.2, 0).images("train")))
    assert set(once.values()) == {1}
    assert len(epochs) == EPOCHS
    for batches in epochs.values():
        assert len(batches) == STEPS_PER_EPOCH
        assert sum(batches, Counter()) == once
    # The same batches as without a change, and about the same losses.
    assert epochs == trained(plain, [(2, "")])
    assert losses(changed) == pytest.approx(losses(plain), rel=1e-3)


def test_the_account_notices_a_batch_that_differs_and_one_that_is_missing(tmp_path):
    def launch(name, *lines):
        (tmp_path / name).mkdir()
        for rank, of_rank in enumerate(itertools.zip_longest(*lines)):
            text = "".join(
                json.dumps({"epoch": 0, "batch": batch, "images": [image]}) + "\n"
                for batch, image in enumerate(of_rank)
                if image is not None
            )
            (tmp_path / name / f"rank-{rank}.jsonl").write_text(text)
        return tmp_path / name, len(lines[0])

    first = launch("first", ["a", "b"], ["c"])
    again = launch("again", ["a", "b"], ["c", "d"])
    assert account([first, again]) == {0: [Counter("ab"), Counter("cd")]}
    with pytest.raises(AssertionError, match="another batch"):
        account([again, launch("other", ["a", "b"], ["c", "e"])])
    (tmp_path / "again" / "rank-0.jsonl").write_text(
        json.dumps({"epoch": 0, "batch": 1, "images": ["a"]})
    )
    with pytest.raises(AssertionError):
        account([again])


@pytest.mark.ranks(3)
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_compression_is_measured_anew(tmp_path):
    compression = "{name: auto, candidates: [int8], min_gain: 0, rounds: 1}"
    options = (*OPTIONS, f"--synchronization.compression={compression}")
    outputs = [
        run_with_fault(tmp_path, f"term@after_step:rank=1:step={step}", size=size, options=options)
        for size, step in ((2, 24), (3, 47))
    ]
    outputs.append(run_to_the_end(tmp_path, size=1, options=options))
    texts = [one.output for one in outputs]
    assert [text.count("(a reduction with none") for text in texts] == [1, 1, 0]
    assert ["measured anew: 3 instead of 2 ranks" in text for text in texts] == [False, True, False]
    assert len(losses(tmp_path)) == EPOCHS
    assert losses(tmp_path)[-1] < 0.5 * losses(tmp_path)[0]
