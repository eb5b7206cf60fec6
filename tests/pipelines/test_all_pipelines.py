import re
from pathlib import Path

import pytest

from hvd_imgcls.commands.plan import plan_for
from hvd_imgcls.config import load_config, parse_config, to_yaml
from hvd_imgcls.data import open_source
from hvd_imgcls.plan import describe
from hvd_imgcls.topology import Topology

FOLDER = Path(__file__).parents[2] / "pipelines"
PIPELINES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(params=PIPELINES, ids=lambda path: path.stem)
def path(request):
    return request.param


def header_of(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("#"))


def test_there_are_pipelines():
    assert PIPELINES


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_pipeline_on_any_number_of_ranks_has_a_plan(path, size):
    config = load_config(path)
    topology = Topology.on_hosts(0, size, min(size, 8))
    plan = plan_for(config, open_source(config.data.source), topology, num_cores=8)
    assert plan.per_rank_batch_size * size * plan.gradient_accumulation_steps == (
        config.train.global_batch_size
    )
    assert f"{size} rank" in describe(plan, config)


def test_pipeline_written_out_reads_back_equal(path):
    config = load_config(path)
    assert parse_config(to_yaml(config), origin="again") == config


def test_pipeline_header_gives_command_conditions_and_dated_result(path):
    header = header_of(path)
    assert f"hvd-imgcls train pipelines/{path.name}" in header
    assert re.search(r"top-1", header)
    assert re.search(r"20\d\d-\d\d-\d\d", header)


def test_pipeline_is_in_the_table_of_the_readme(path):
    assert path.stem in (FOLDER / "README.md").read_text(encoding="utf-8")
