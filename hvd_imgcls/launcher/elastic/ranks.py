"""What the ranks of an elastic job know of it, from their environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

DIRECTORY = "HVD_IMGCLS_ELASTIC_DIR"
"""Variable of the ranks: where `hvd.elastic` writes its commits."""

JOB = "HVD_IMGCLS_ELASTIC_JOB"
"""Variable of the ranks: a name that no other job has."""

RESTART = "HVD_IMGCLS_ELASTIC_RESTART"
"""Variable of the ranks: how many times they were started before."""


def elastic_job(environment: Mapping[str, str] = os.environ) -> str:
    """Returns the name of the elastic job that this process belongs to, "" if to none."""
    return environment.get(JOB, "")


def is_restarted(environment: Mapping[str, str] = os.environ) -> bool:
    """Returns whether the ranks of this job were started before."""
    return bool(elastic_job(environment)) and environment.get(RESTART, "0") != "0"
