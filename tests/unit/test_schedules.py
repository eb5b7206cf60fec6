import math

import keras
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd_imgcls.config import parse_config
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.plan import describe_plan, learning_rate_at, make_plan
from hvd_imgcls.schedules import build_schedule
from tests.support.pipelines import PIPELINE


def schedule_of(*overrides):
    config = parse_config(PIPELINE, overrides, origin="x.yaml")
    plan = make_plan(
        config,
        num_train_examples=640,
        num_held_out_examples=100,
        num_classes=10,
        topology=Topology.single(),
    )
    return build_schedule(config.schedule, plan), plan


def formula_of(*overrides, num_train_examples=640):
    config = parse_config(PIPELINE, overrides, origin="x.yaml")
    plan = make_plan(
        config,
        num_train_examples=num_train_examples,
        num_held_out_examples=100,
        num_classes=10,
        topology=Topology.single(),
    )
    return config, plan, lambda step: learning_rate_at(step, config.schedule, plan)


def test_cosine_with_warmup_rises_to_the_peak_and_falls_to_its_end():
    schedule, plan = schedule_of("--schedule.final_fraction=0.1")
    assert (plan.num_steps, plan.warmup_steps) == (200, 20)
    rates = [float(schedule(step)) for step in range(201)]
    assert rates[0] == pytest.approx(0.1 / 20)
    assert rates[20] == pytest.approx(0.1) == max(rates)
    assert rates[110] == pytest.approx((0.1 + 0.01) / 2)
    assert rates[200] == pytest.approx(0.01)
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)


def test_cosine_without_warmup_begins_at_the_peak():
    schedule, _ = schedule_of("--schedule.warmup_epochs=0")
    assert float(schedule(0)) == pytest.approx(0.1)
    assert float(schedule(200)) == pytest.approx(0.0, abs=1e-8)


def test_constant_with_warmup_stays_at_the_peak():
    schedule, _ = schedule_of("--schedule.name=constant")
    assert float(schedule(0)) == pytest.approx(0.1 / 20)
    assert [float(schedule(step)) for step in (20, 100, 500)] == pytest.approx([0.1] * 3)


def test_constant_without_warmup_is_a_number():
    assert schedule_of("--schedule.name=constant", "--schedule.warmup_epochs=0")[0] == 0.1


STEPS = "{name: step, base_learning_rate: 0.4, milestones: [5, 10], factor: 0.1}"


def test_step_falls_at_the_first_step_of_a_milestone():
    _, plan, rate = formula_of("--schedule", STEPS)
    assert plan.steps_per_epoch == 10
    assert [rate(step) for step in (0, 49, 50, 99, 100, 199)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )


def test_polynomial_of_power_two_has_a_quarter_at_half_time():
    _, _, rate = formula_of("--schedule", "{name: polynomial, base_learning_rate: 0.4, power: 2}")
    assert [rate(0), rate(100), rate(200), rate(999)] == pytest.approx([0.1, 0.025, 0, 0])


def test_warmup_from_is_where_the_first_step_is():
    _, plan, rate = formula_of("--schedule.warmup_from=0.25")
    assert [rate(0), rate(10), rate(20)] == pytest.approx([0.025, 0.0625, 0.1])
    assert [rate(plan.num_steps)] == pytest.approx([0.0])


schedules = st.fixed_dictionaries(
    {
        "base_learning_rate": st.floats(1e-4, 10),
        "scaling": st.sampled_from(["linear", "square_root", "none"]),
        "warmup_epochs": st.sampled_from([0, 0.3, 1, 2.5]),
        "warmup_from": st.none() | st.floats(0, 1),
    }
).flatmap(
    lambda common: st.one_of(
        st.just({"name": "constant"}),
        st.fixed_dictionaries({"name": st.just("cosine"), "final_fraction": st.floats(0, 0.9)}),
        st.fixed_dictionaries(
            {
                "name": st.just("polynomial"),
                "power": st.sampled_from([0.5, 1, 2, 3.5]),
                "final_fraction": st.floats(0, 0.9),
            }
        ),
        st.fixed_dictionaries(
            {
                "name": st.just("step"),
                "milestones": st.lists(st.floats(2.5, 12), min_size=1, unique=True).map(sorted),
                "factor": st.floats(0.05, 0.9),
            }
        ),
    ).map(lambda own: {**own, **common})
)


@settings(max_examples=60, deadline=None)
@given(schedule=schedules, num_train_examples=st.integers(64, 2000), start=st.integers(0, 400))
def test_what_keras_is_given_is_the_formula(schedule, num_train_examples, start):
    """From step 0 or from any other one: nothing but the number of the step goes in."""
    words = ["--schedule", str(schedule).replace("None", "null"), "--train.num_epochs=10"]
    config, plan, rate = formula_of(*words, num_train_examples=num_train_examples)
    built = build_schedule(config.schedule, plan)
    last = plan.num_steps
    places = {0, 1, plan.warmup_steps, plan.warmup_steps + 1, last - 1, last, start, last // 2}
    for step in sorted(places | {max(plan.warmup_steps - 1, 0)}):
        value = built if isinstance(built, float) else float(built(tf.constant(step, tf.int64)))
        # float32: the cosine and the power of what is left of the run are where it rounds.
        assert value == pytest.approx(rate(step), rel=2e-5, abs=2e-6 * plan.peak_learning_rate)


@pytest.mark.parametrize(
    ("schedule", "needs_this_package"),
    [
        ("{name: cosine, base_learning_rate: 1, warmup_epochs: 2}", False),
        ("{name: constant, base_learning_rate: 1, warmup_epochs: 2}", False),
        ("{name: step, base_learning_rate: 1, milestones: [3]}", False),
        ("{name: polynomial, base_learning_rate: 1}", False),
        ("{name: step, base_learning_rate: 1, milestones: [3], warmup_epochs: 2}", True),
        ("{name: polynomial, base_learning_rate: 1, warmup_epochs: 2}", True),
    ],
)
def test_schedule_is_saved_as_keras_own_where_keras_has_it(schedule, needs_this_package):
    built, plan = schedule_of("--schedule", schedule)
    saved = keras.saving.serialize_keras_object(built)
    assert (saved["registered_name"] is not None) == needs_this_package
    again = keras.saving.deserialize_keras_object(saved)
    for step in (0, 7, 20, 31, plan.num_steps):
        assert float(again(step)) == float(built(step))


@pytest.mark.parametrize(
    ("milestones", "warmup_epochs"), [("[]", 0), ("[5, 3]", 0), ("[5, 5]", 0), ("[1]", 2)]
)
def test_milestones_that_make_no_sense_are_refused(milestones, warmup_epochs):
    words = f"{{name: step, base_learning_rate: 1, milestones: {milestones}}}"
    with pytest.raises(ConfigError, match="milestones"):
        formula_of("--schedule", words, f"--schedule.warmup_epochs={warmup_epochs}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [],
            "warmup over 20 steps to 0.1 (base 0.4 for a batch of 256, scaling linear), then cosin",
        ),
        (["--schedule.warmup_from=0.5"], "warmup over 20 steps from 0.05 to 0.1 (base"),
        (["--schedule", STEPS], "then times 0.1 at step 50, 100, down to 0.001"),
        (["--schedule", STEPS, "--train.num_epochs=4"], "constant: no milestone is reached"),
        (
            ["--schedule", "{name: polynomial, base_learning_rate: 1, power: 2}"],
            "then polynomial decay of power 2 to 0",
        ),
    ],
)
def test_plan_says_the_shape_in_one_line(words, said):
    config, plan, _ = formula_of(*words)
    lines = [line for line in describe_plan(plan, config).splitlines() if "learning rate" in line]
    assert len(lines) == 1
    assert said in lines[0]
