"""Formats a plan as text: all derived values, where they come from, and the threads."""

from __future__ import annotations

from collections.abc import Sequence

from hvd_imgcls.config.models import KerasApplication, KerasFile, KerasHub
from hvd_imgcls.config.schema import RunConfig
from hvd_imgcls.plan import arithmetic
from hvd_imgcls.plan.hosts import HostShares
from hvd_imgcls.plan.learning_rate import describe_learning_rate
from hvd_imgcls.plan.making import Plan


def describe_plan(plan: Plan, config: RunConfig, not_checked: Sequence[str] = ()) -> str:
    """Returns a description of the run, one topic per line.

    Args:
        plan: The plan.
        config: The configuration that it was made from.
        not_checked: What could not be checked, as noun phrases.
    """
    rows = [
        ("ranks", _ranks(plan)),
        ("data", _data(plan, config)),
        *([("hosts", _hosts(plan.hosts))] if plan.hosts else []),
        *([("bad images", _bad_images(plan, config))] if _quarantines(config) else []),
        ("augment", ", ".join(part.name for part in config.augment) or "nothing"),
        ("batch", _batch(plan)),
        ("epoch", _epoch(plan)),
        ("run", _run(plan)),
        ("model", f"{_model(config)}, {config.train.precision}, seed {plan.seed}"),
        ("loss", _loss(config)),
        ("optimizer", _optimizer(config)),
        ("learning rate", describe_learning_rate(config.schedule, plan)),
        ("gradients", _gradients(plan, config)),
        ("evaluation", _evaluation(plan)),
        ("threads", _threads(plan)),
        *([("not checked", "; ".join(not_checked))] if not_checked else []),
    ]
    width = max(len(subject) for subject, _ in rows) + 2
    return "\n".join(["plan:", *(f"  {subject:<{width}}{text}" for subject, text in rows)])


def _count(number: int, thing: str, things: str | None = None) -> str:
    """Formats a count, such as `1 rank` or `2 ranks`."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def _model(config: RunConfig) -> str:
    model = config.model
    if isinstance(model, KerasApplication):
        weights = "random weights" if model.weights is None else f"weights {model.weights}"
        return f"{model.name} {model.application}, {weights}"
    if isinstance(model, KerasHub):
        return f"{model.name} {model.preset}"
    return f"{model.name} {model.path}" if isinstance(model, KerasFile) else model.name


def _ranks(plan: Plan) -> str:
    return f"{plan.size}, {plan.local_size} on this host"


def _data(plan: Plan, config: RunConfig) -> str:
    return (
        f"{config.data.source.name}: {plan.num_train_examples:,} training and "
        f"{plan.evaluation.num_examples:,} held-out images, {plan.num_classes} classes"
    )


def _hosts(hosts: HostShares) -> str:
    least, most = min(hosts.num_train_examples), max(hosts.num_train_examples)
    return (
        f"{hosts.num_hosts}, with {least:,} to {most:,} training images each; "
        f"{hosts.exchange:.0%} exchanged, {hosts.distance_from_global_shuffle:.3f} from a global "
        "shuffle"
    )


def _quarantines(config: RunConfig) -> bool:
    return config.data.bad_examples == "quarantine"


def _bad_images(plan: Plan, config: RunConfig) -> str:
    data = config.data
    of_training, of_held_out = (
        arithmetic.max_bad_examples(data.max_bad_examples, data.max_bad_fraction, number)
        for number in (plan.num_train_examples, plan.evaluation.num_examples)
    )
    return f"left out, at most {of_training:,} training and {of_held_out:,} held-out images"


def _batch(plan: Plan) -> str:
    parts = f"{_count(plan.size, 'rank')} x {plan.per_rank_batch_size}"
    if plan.gradient_accumulation_steps > 1:
        parts += f" x {plan.gradient_accumulation_steps} accumulated passes"
    return f"{plan.global_batch_size:,} per step = {parts}"


def _epoch(plan: Plan) -> str:
    text = _count(plan.steps_per_epoch, "step")
    if plan.num_dropped_examples:
        dropped = _count(plan.num_dropped_examples, "example")
        text += f"; {dropped} beyond the last full batch dropped, different ones in every epoch"
    if plan.num_padded_examples:
        padded = _count(plan.num_padded_examples, "padding slot")
        text += f"; {padded} with weight 0"
    return text


def _run(plan: Plan) -> str:
    epochs = _count(plan.num_epochs, "epoch")
    if plan.num_steps % plan.steps_per_epoch:
        epochs += ", the last one truncated"
    return f"{_count(plan.num_steps, 'step')}: {epochs}"


def _loss(config: RunConfig) -> str:
    weighted = config.train.class_weights == "balanced"
    return config.loss.name + (", balanced class weights" if weighted else "")


def _optimizer(config: RunConfig) -> str:
    optimizer, ema = config.optimizer, config.train.ema
    parts = [str(optimizer.name)]
    if optimizer.name != "adam" and optimizer.weight_decay:
        kind = "l2 " if optimizer.name == "sgd" and optimizer.weight_decay_kind == "l2" else ""
        parts.append(f"{kind}weight decay {optimizer.weight_decay:g} ({optimizer.weight_decay_on})")
    if config.gradient_clipping.name != "none":
        parts.append(f"clipping {config.gradient_clipping.name}")
    if config.fine_tuning.layer_decay < 1:
        parts.append(f"layer-wise decay {config.fine_tuning.layer_decay:g}")
    if ema is not None:
        parts.append(f"ema {ema.decay:g}")
    return ", ".join(parts)


def _gradients(plan: Plan, config: RunConfig) -> str:
    if plan.size == 1:
        return "from the only rank"
    checks = (
        f"ranks compared every {_count(plan.check_every_steps, 'step')}"
        if plan.check_every_steps
        else "ranks compared at start and end"
    )
    mode, compression = config.synchronization.mode, config.synchronization.compression
    groups = getattr(mode, "groups", None)
    grouped = "" if groups is None else f", groups {groups}"
    return f"{mode.name}{grouped}, compression {compression.name}; {checks}"


def _evaluation(plan: Plan) -> str:
    blocks = _count(plan.evaluation.num_steps, "block")
    return (
        f"every held-out example once: {blocks} of {plan.evaluation.block_size} per rank, "
        f"{plan.evaluation.num_padded_examples} padded"
    )


def _threads(plan: Plan) -> str:
    threads = plan.threads
    each = f", {_count(threads.intra_op, 'core')} each"
    return (
        f"{_count(threads.num_cores, 'core')} for {_count(plan.local_size, 'rank')}"
        f"{each if 1 < plan.local_size <= threads.num_cores else ''}: "
        f"per rank intra-op {threads.intra_op}, inter-op {threads.inter_op}, data {threads.data}"
    )
