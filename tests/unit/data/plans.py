"""Plans of any size, for tests of the arithmetic."""

from hvd_imgcls.config import parse_config
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.plan import make_plan

PIPELINE = """
data: {source: {name: digits}}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 64, num_epochs: 20}
"""


def plan_of(*, num_train, batch, size=1, num_held_out=1, hosts=None, **train):
    """Returns a plan; further keywords are keys of `train`, or `block_size`."""
    overrides = [f"--evaluation.block_size={train.pop('block_size', 16)}"]
    overrides += [f"--train.{key}={value}" for key, value in train.items()]
    overrides.append(f"--train.global_batch_size={batch}")
    return make_plan(
        parse_config(PIPELINE, overrides, origin="x.yaml"),
        num_train_examples=num_train,
        num_held_out_examples=num_held_out,
        num_classes=2,
        topology=Topology.on_hosts(0, size, size),
        num_cores=16,
        hosts=hosts,
    )
