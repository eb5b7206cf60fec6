import math

import pytest

from hvd_imgcls.config import parse_config
from hvd_imgcls.losses import build_loss
from hvd_imgcls.optimizers import build_optimizer
from hvd_imgcls.plan import make_plan
from hvd_imgcls.schedules import build_schedule
from hvd_imgcls.topology import Topology

PIPELINE = """
data: {source: {name: digits}}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: cosine, base_learning_rate: 0.4, warmup_epochs: 2}
train: {global_batch_size: 64, num_epochs: 20}
"""


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


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("{name: sgd, nesterov: true}", {"momentum": 0.9, "nesterov": True, "weight_decay": None}),
        ("{name: sgd, weight_decay: 0.5}", {"weight_decay": 0.5, "nesterov": False}),
        ("{name: adam, beta_1: 0.5}", {"beta_1": 0.5, "beta_2": 0.999, "weight_decay": None}),
        ("{name: adamw, epsilon: 1e-3}", {"epsilon": 0.001, "weight_decay": 0.004}),
    ],
)
def test_build_optimizer_takes_every_key_over(words, expected):
    config = parse_config(PIPELINE, ["--optimizer", words], origin="x.yaml")
    optimizer = build_optimizer(config.optimizer, 0.25)
    assert type(optimizer).__name__.lower() == config.optimizer.name
    built = optimizer.get_config()
    assert float(built["learning_rate"]) == 0.25
    assert {key: built[key] for key in expected} == expected


def test_build_loss_takes_label_smoothing_over():
    config = parse_config(PIPELINE, ["--loss.label_smoothing=0.2"], origin="x.yaml")
    built = build_loss(config.loss).get_config()
    assert (built["label_smoothing"], built["from_logits"]) == (0.2, True)
