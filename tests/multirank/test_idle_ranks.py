"""A rank that has nothing to do leaves its core to others (patch 10 of the Horovod build)."""

from __future__ import annotations

import pytest

from tests.support.launch import run_on_ranks


def cycles_of_an_idle_second(path):
    import time

    import horovod.tensorflow as horovod  # noqa: TID251 - its timeline shows the cycles

    from hvd_imgcls import distributed

    ranks = distributed.current()
    ranks.barrier()
    horovod.start_timeline(path, mark_cycles=True)
    time.sleep(1.0)
    ranks.barrier()
    horovod.stop_timeline()
    ranks.barrier()


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    ("idle_ms", "fewest", "most"),
    [("50", 5, 200), pytest.param("0", 300, 1200, marks=pytest.mark.slow)],
)
def test_idle_ranks_ask_each_other_20_times_a_second_instead_of_1000(
    tmp_path, idle_ms, fewest, most
):
    path = tmp_path / "timeline.json"
    environment = {"HOROVOD_TIMELINE": "DYNAMIC", "HOROVOD_IDLE_CYCLE_TIME": idle_ms}
    run_on_ranks(cycles_of_an_idle_second, 2, arguments=(str(path),), environment=environment)
    assert fewest < path.read_text(encoding="utf-8").count("CYCLE_START") < most
