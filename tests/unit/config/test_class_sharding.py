"""What `model.head: class_sharded` cannot be combined with."""

import pytest

from hvd_imgcls.config import parse_config
from hvd_imgcls.config.reading.consistency import require_consistent
from hvd_imgcls.errors import ConfigError

PIPELINE = """
data: {source: {name: digits}}
model: {name: small_cnn, head: class_sharded}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
evaluation: {every_epochs: 1}
train: {global_batch_size: 64, num_epochs: 20}
"""
EXCLUDED = {
    "loss focal": "--loss={name: focal}",
    "optimizer lars": "--optimizer={name: lars}",
    "optimizer lamb": "--optimizer={name: lamb}",
    "gradient_clipping norm": "--gradient_clipping={name: norm, max_norm: 1}",
    "gradient_clipping global_norm": "--gradient_clipping={name: global_norm, max_norm: 1}",
    "train.precision mixed_float16": "--train.precision=mixed_float16",
    "data.allocation dynamic": "--data.allocation=dynamic",
    "train.compile xla": "--train.compile=xla",
    "synchronization.mode delayed": "--synchronization.mode=delayed",
    "synchronization.mode local_sgd": "--synchronization.mode=local_sgd",
    "synchronization.compression int8": "--synchronization.compression=int8",
    "shard_optimizer_state": "--synchronization.shard_optimizer_state=true",
    "model_checkpoint": "--callbacks=[{name: model_checkpoint}]",
    "restore_best_weights": "--callbacks=[{name: early_stopping}]",
}


@pytest.mark.parametrize("what", EXCLUDED)
def test_it_is_refused_by_name(what):
    config = parse_config(PIPELINE, [EXCLUDED[what]], origin="x.yaml")
    with pytest.raises(ConfigError, match=rf"^model\.head: got 'class_sharded, with .*{what}"):
        require_consistent(config)
    require_consistent(
        parse_config(PIPELINE, [EXCLUDED[what], "--model.head=dense"], origin="x.yaml")
    )


def test_the_rest_is_allowed():
    for option in (
        "--optimizer={name: muon}",
        "--gradient_clipping={name: adaptive}",
        "--synchronization.compression=fp16",
        "--callbacks=[{name: early_stopping, restore_best_weights: false}]",
        "--model.head.sampled_fraction=0.1",
        "--model.head.sampled_fraction=1",
    ):
        require_consistent(parse_config(PIPELINE, [option], origin="x.yaml"))


@pytest.mark.parametrize("model", ["fast_cnn", "given"])
def test_models_without_a_plain_last_layer_do_not_have_the_key(model):
    with pytest.raises(ConfigError, match="head"):
        parse_config(PIPELINE, [f"--model={{name: {model}, head: dense}}"], origin="x.yaml")


@pytest.mark.parametrize("value", ["0", "-0.1", "1.5", "null", "'0.1'"])
def test_a_sampled_fraction_is_above_0_and_at_most_1(value):
    with pytest.raises(ConfigError, match=r"model\.head.*sampled_fraction"):
        parse_config(PIPELINE, [f"--model.head.sampled_fraction={value}"], origin="x.yaml")


def test_a_whole_layer_is_not_sampled():
    with pytest.raises(ConfigError, match="sampled_fraction"):
        parse_config(
            PIPELINE, ["--model.head={name: dense, sampled_fraction: 0.1}"], origin="x.yaml"
        )


NEEDING_SCORES = {
    "evaluation.thresholds": "--evaluation.thresholds={recall: [0.9]}",
    "callbacks.0.monitor val_roc_auc": "--callbacks=[{name: early_stopping, monitor: val_roc_auc, "
    "restore_best_weights: false}]",
}


@pytest.mark.parametrize("what", NEEDING_SCORES)
def test_metrics_that_need_all_scores_are_refused_by_name(what):
    option = NEEDING_SCORES[what]
    config = parse_config(PIPELINE, [option], origin="x.yaml")
    with pytest.raises(ConfigError, match=rf"^evaluation\.metrics: got .*default.*{what}"):
        require_consistent(config)
    for more in ("--evaluation.metrics=all", "--model.head=dense"):
        require_consistent(parse_config(PIPELINE, [option, more], origin="x.yaml"))
    words = [option, "--model.head=dense", "--evaluation.metrics=by_example"]
    with pytest.raises(ConfigError, match=rf"^evaluation\.metrics: got 'by_example, with {what}"):
        require_consistent(parse_config(PIPELINE, words, origin="x.yaml"))
