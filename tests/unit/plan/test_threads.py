import os

import pytest

from hvd_imgcls.environment.processor import cpu_quota
from hvd_imgcls.plan import threads


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("nonsense", 8), (None, 8)],
)
def test_available_cores_with_a_container_quota_obeys_it(monkeypatch, tmp_path, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    path = tmp_path / "cpu.max"
    if quota is not None:
        path.write_text(quota)
    monkeypatch.setattr(threads, "cpu_quota", lambda: cpu_quota(path))
    assert threads.available_cores() == expected
