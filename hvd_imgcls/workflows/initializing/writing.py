"""Writes a pipeline file with comments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from hvd_imgcls.files.class_lists import listed
from hvd_imgcls.text.printable import printable
from hvd_imgcls.versions import code_version
from hvd_imgcls.workflows.initializing.choosing import Choice
from hvd_imgcls.workflows.initializing.looking import Seen

_SMALL = """\
augment:
  - name: random_crop
    padding: {padding}
  - name: random_flip  # remove it if left and right matter, as in digits or signs
model:
  name: resnet20  # a residual network for small images, from scratch
optimizer:
  name: sgd
  momentum: 0.9
  nesterov: true
  weight_decay: 0.0005
schedule:
  name: cosine
  base_learning_rate: 0.1
  base_batch_size: 128
  warmup_epochs: 2
"""
_PRETRAINED = """\
augment:
  - name: random_resized_crop
    area: [0.35, 1.0]
  - name: random_flip  # remove it if left and right matter, as in digits or signs
model:
  name: keras_application
  application: MobileNetV2  # `hvd-imgcls models` lists others
  weights: imagenet  # downloaded once, about 9 MB
  dropout: 0.2
optimizer:
  name: adamw
  weight_decay: 0.05
schedule:
  name: cosine
  base_learning_rate: 0.001
  base_batch_size: 64
  scaling: square_root
  warmup_epochs: 1
fine_tuning:
  freeze:
    - layers: [trunk]  # first only the new head is trained, for two epochs
      epochs: 2
  layer_decay: 0.9  # layers near the images change less
"""
_SCRATCH = """\
augment:
  - name: random_resized_crop
    area: [0.35, 1.0]
  - name: random_flip  # remove it if left and right matter, as in digits or signs
model:
  name: resnet18  # from scratch; pretrained weights need fewer images and epochs
optimizer:
  name: adamw
  weight_decay: 0.05
schedule:
  name: cosine
  base_learning_rate: 0.001
  base_batch_size: 64
  scaling: square_root
  warmup_epochs: 2
"""


def pipeline_text(seen: Seen, choice: Choice, measured: Sequence[str] = ()) -> str:
    """Returns the text of a pipeline file.

    Args:
        seen: What is in the folder.
        choice: The settings.
        measured: What was measured, as lines.
    """
    parts = [
        _header(seen, choice, measured),
        _dumped({"data": choice.data(seen)}),
        _network(choice),
        "loss:\n  name: cross_entropy\n  label_smoothing: 0.1\n",
        _train(seen, choice),
        "evaluation:\n  every_epochs: 1\n" + ("  crop_fraction: 1\n" if choice.is_small else ""),
    ]
    return "".join(parts)


def _header(seen: Seen, choice: Choice, measured: Sequence[str]) -> str:
    fewest, most = (choose(seen.train_counts) for choose in (min, max))
    lines = [
        f"Written by hvd-imgcls init {code_version()}.",
        f"{printable(seen.source.path)}: {len(seen.class_names):,} classes "
        f"({printable(listed(seen.class_names))}),",
        f"{seen.num_train:,} training and {seen.num_held_out:,} held-out images; per class "
        f"{fewest:,} to {most:,} for training.",
        f"Shorter sides of {len(seen.sides)} of them: {seen.sides[0]:,} to {seen.sides[-1]:,} "
        f"pixels, median {seen.median_side:,}.",
        *measured,
        "`hvd-imgcls keys SECTION` explains the keys of a section.",
    ]
    return "".join(f"# {line}\n" for line in lines)


def _network(choice: Choice) -> str:
    if choice.is_small:
        return _SMALL.format(padding=max(1, choice.image_size // 8))
    return _PRETRAINED if choice.is_pretrained else _SCRATCH


def _train(seen: Seen, choice: Choice) -> str:
    lines = [
        "train:",
        f"  global_batch_size: {choice.batch_size}  # over all ranks",
        f"  num_epochs: {choice.num_epochs}",
        "  last_batch: weighted  # every image in every epoch",
        "  recalibration_batches: 20  # statistics of batch normalisation, after training",
    ]
    if choice.is_balanced:
        fewest, most = min(seen.train_counts), max(seen.train_counts)
        lines.append(f"  class_weights: balanced  # classes have {fewest:,} to {most:,} images")
    return "".join(f"{line}\n" for line in lines)


def _dumped(tree: dict[str, Any]) -> str:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=False)
