"""The models that a pipeline selects by `name`.

To add one, add a section in one of these modules, a member of the union, and an entry in
the table of `hvd_imgcls.models`.
"""

from __future__ import annotations

from typing import Annotated

import pydantic

from hvd_imgcls.config.models.heads import ClassShardedHead, DenseHead
from hvd_imgcls.config.models.networks import (
    Cae,
    CifarResNet,
    FastCnn,
    PlainCnn,
    ResNet,
    SmallCnn,
    Vit,
)
from hvd_imgcls.config.models.ready_made import GivenModel, KerasApplication, KerasFile, KerasHub

Model = Annotated[
    SmallCnn
    | PlainCnn
    | FastCnn
    | CifarResNet
    | ResNet
    | Vit
    | Cae
    | KerasApplication
    | KerasFile
    | KerasHub
    | GivenModel,
    pydantic.Field(discriminator="name"),
]

__all__ = [
    "Cae",
    "CifarResNet",
    "ClassShardedHead",
    "DenseHead",
    "FastCnn",
    "GivenModel",
    "KerasApplication",
    "KerasFile",
    "KerasHub",
    "Model",
    "PlainCnn",
    "ResNet",
    "SmallCnn",
    "Vit",
    "class_sharded_head",
]


def class_sharded_head(model: Model) -> ClassShardedHead | None:
    """Returns the head of a model whose classes are divided over the ranks; None otherwise.

    Args:
        model: The `model` section.
    """
    head = getattr(model, "head", None)
    return head if isinstance(head, ClassShardedHead) else None
