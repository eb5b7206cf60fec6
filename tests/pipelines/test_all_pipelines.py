import re
from pathlib import Path

import pytest

from hvd_imgcls.config import load_config, parse_config, to_yaml
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.plan import describe_plan
from hvd_imgcls.workflows.startup.images import open_run_images, plan_run

FOLDER = Path(__file__).parents[2] / "pipelines"
PIPELINES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(params=PIPELINES, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def load(tmp_path):
    """Loads a pipeline; where its images need not be there, with empty files in their place."""

    def with_images(path):
        config = load_config(path)
        source = config.data.source
        if source.name == "digits":
            return config
        assert source.name == "image_folder"
        for split in (source.train_folder, source.held_out_folder):
            folder = tmp_path / split if split else tmp_path
            for number in range(config.train.global_batch_size * 2):
                file = folder / f"class {number % 10}" / f"{number}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
        return load_config(path, [f"--data.source.path={tmp_path}"])

    return with_images


def header_of(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("#"))


def test_there_are_pipelines():
    assert PIPELINES


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_pipeline_on_any_number_of_ranks_has_a_plan(path, size, load):
    config = load(path)
    topology = Topology.on_hosts(0, size, min(size, 8))
    plan = plan_run(config, open_run_images(config), topology, num_cores=8)
    assert plan.per_rank_batch_size * size * plan.gradient_accumulation_steps == (
        config.train.global_batch_size
    )
    assert f"{size} rank" in describe_plan(plan, config)


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
