import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.plan import describe_plan, share_cores
from tests.support.digits_plans import plan_of


@given(
    size=st.integers(1, 64),
    per_rank=st.integers(1, 40),
    accumulation=st.integers(1, 8),
    num_train=st.integers(1, 200_000),
    num_held_out=st.integers(1, 5_000),
    num_epochs=st.integers(1, 100),
)
def test_plan_of_any_number_of_ranks_adds_up(
    size, per_rank, accumulation, num_train, num_held_out, num_epochs
):
    batch = size * per_rank * accumulation
    num_train += batch
    _, plan = plan_of(
        f"--train.global_batch_size={batch}",
        f"--train.gradient_accumulation_steps={accumulation}",
        f"--train.num_epochs={num_epochs}",
        "--schedule.warmup_epochs=0.5",
        size=size,
        num_train=num_train,
        num_held_out=num_held_out,
    )
    assert plan.per_rank_batch_size == per_rank
    assert plan.steps_per_epoch * batch + plan.num_dropped_examples == num_train
    assert 0 <= plan.num_dropped_examples < batch
    assert plan.num_steps == plan.steps_per_epoch * num_epochs
    assert plan.num_epochs == num_epochs
    assert plan.batches_per_epoch == plan.steps_per_epoch * accumulation
    assert 0 <= plan.warmup_steps < plan.num_steps
    evaluation = plan.evaluation
    slots = evaluation.num_steps * evaluation.block_size * size
    assert slots == num_held_out + evaluation.num_padded_examples
    assert (evaluation.num_steps - 1) * evaluation.block_size * size < num_held_out


@given(size=st.integers(1, 64), batch=st.integers(1, 300))
def test_plan_when_batch_does_not_divide_names_values_that_do(size, batch):
    if batch % size == 0:
        assert plan_of(f"--train.global_batch_size={batch}", size=size)[1].size == size
        return
    with pytest.raises(ConfigError, match=r"train\.global_batch_size") as raised:
        plan_of(f"--train.global_batch_size={batch}", size=size)
    fix = str(raised.value).split("; use ")[1]
    values, _, sizes = fix.replace(" ranks", "").partition(", or ")
    for value in values.split(" or "):
        assert plan_of(f"--train.global_batch_size={value}", size=size)[1].size == size
    for other in sizes.replace(" or ", ", ").split(", "):
        assert plan_of(f"--train.global_batch_size={batch}", size=int(other))[1].size == int(other)


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_plan_of_more_ranks_changes_only_what_is_per_rank(size):
    _, plan = plan_of(size=size)
    _, alone = plan_of(size=1)
    for name in ("num_steps", "steps_per_epoch", "peak_learning_rate", "warmup_steps"):
        assert getattr(plan, name) == getattr(alone, name)
    assert plan.per_rank_batch_size * size == 64


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("--train.global_batch_size=1439", "train.global_batch_size"),
        ("--schedule.warmup_epochs=20", "schedule.warmup_epochs"),
    ],
)
def test_plan_that_cannot_be_raises_config_error_with_the_key(override, key):
    with pytest.raises(ConfigError) as raised:
        plan_of(override)
    assert raised.value.key == key


@pytest.mark.parametrize("counts", [{"num_train": 0}, {"num_held_out": 0}, {"classes": 1}])
def test_plan_without_data_raises_data_error(counts):
    with pytest.raises(DataError):
        plan_of(**counts)


def test_plan_with_steps_cuts_the_last_epoch_short():
    config, plan = plan_of("--train.num_epochs=null", "--train.num_steps=100")
    assert (plan.num_steps, plan.num_epochs, plan.steps_per_epoch) == (100, 5, 22)
    assert "5 epochs, the last one truncated" in describe_plan(plan, config)


@pytest.mark.parametrize(
    ("scaling", "peak"), [("linear", 0.4), ("square_root", 0.2), ("none", 0.1)]
)
def test_plan_scales_the_learning_rate_as_told(scaling, peak):
    _, plan = plan_of(
        f"--schedule.scaling={scaling}", "--train.global_batch_size=1024", num_train=4096
    )
    assert plan.peak_learning_rate == pytest.approx(peak)


def test_describe_of_several_ranks_names_everything():
    config, plan = plan_of("--train.gradient_accumulation_steps=2", size=8, ranks_per_host=4)
    text = describe_plan(plan, config)
    for said in (
        "8, 4 on this host",
        "1,438 training and 359 held-out images, 10 classes",
        "64 per step = 8 ranks x 4 x 2 accumulated passes",
        "30 examples beyond the last full batch dropped",
        "440 steps: 20 epochs",
        "warmup over 44 steps to 0.025",
        "ranks compared every 100 steps",
        "1 block of 64 per rank, 153 padded",
        "16 cores for 4 ranks, 4 cores each: per rank intra-op 4, inter-op 2, data 4",
    ):
        assert said in text


def test_json_of_a_plan_holds_every_number():
    _, plan = plan_of(size=2)
    tree = json.loads(json.dumps(plan.to_json()))
    assert set(tree) == {field.name for field in dataclasses.fields(plan)}


def test_agreed_numbers_do_not_depend_on_the_host():
    _, four = plan_of(size=8, ranks_per_host=4)
    _, two = plan_of(size=8, ranks_per_host=2)
    assert four != two
    assert four.agreed() == two.agreed()


@given(num_cores=st.integers(1, 256), local_size=st.integers(1, 64))
def test_threads_of_all_ranks_of_a_host_fit_its_cores(num_cores, local_size):
    threads = share_cores(num_cores, local_size)
    assert threads.intra_op >= 1
    assert threads.inter_op >= 1
    assert threads.data >= 1
    assert threads.intra_op * local_size <= max(num_cores, local_size)
