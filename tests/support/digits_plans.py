"""Plans of a run on the digits."""

from hvd_imgcls.config import parse_config
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.plan import make_plan

PIPELINE = """
data: {source: {name: digits}}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: cosine, base_learning_rate: 0.1, warmup_epochs: 2}
train: {global_batch_size: 64, num_epochs: 20}
"""


def plan_of(*overrides, size=1, ranks_per_host=None, num_train=1438, num_held_out=359, classes=10):
    config = parse_config(PIPELINE, overrides, origin="x.yaml")
    plan = make_plan(
        config,
        num_train_examples=num_train,
        num_held_out_examples=num_held_out,
        num_classes=classes,
        topology=Topology.on_hosts(0, size, ranks_per_host or size),
        num_cores=16,
    )
    return config, plan
