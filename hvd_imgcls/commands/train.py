"""`hvd-imgcls train PIPELINE [--key.path value ...]`."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from hvd_imgcls.commands.arguments.overrides import add_pipeline
from hvd_imgcls.config import RunConfig, load_config
from hvd_imgcls.config.model_files import require_files
from hvd_imgcls.config.models import KerasFile
from hvd_imgcls.data import open_source, opens_without_tensorflow
from hvd_imgcls.environment.topology import Topology, launched_rank_and_size
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.interruption import install_sigterm_grace
from hvd_imgcls.launcher.elastic.ranks import is_restarted
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly
from hvd_imgcls.workflows.startup.images import Opened, open_run_images, plan_run
from hvd_imgcls.workflows.startup.run_place import require_continuable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `train`."""
    add_pipeline(parser)
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="begin a new run even if there is an unfinished one, which is then left as it is",
    )
    parser.add_argument(
        "--from",
        dest="initial",
        type=Path,
        metavar="CHECKPOINT",
        help="begin with the weights of a checkpoint, of a run or of a .keras file; the last layer "
        "is new if the classes differ",
    )


def run(arguments: argparse.Namespace) -> None:
    """Trains the model, or continues to. Collective: every rank must call this."""
    # Everything that can be checked without TensorFlow, whose import takes seconds, comes first.
    config = load_config(arguments.pipeline, arguments.overrides)
    config, weights = _initial_weights(config, arguments.initial)
    require_files(config.model)
    rank, size = launched_rank_and_size()
    opened = None
    if opens_without_tensorflow(config.data.source):
        source = open_source(config.data.source, config.data.placement)
        images = open_run_images(config, source=source)
        plan = plan_run(config, images, Topology.on_hosts(rank, size, size))
        opened = Opened(source=source, plan=plan)
    # Root only: the root creates the directory while the other ranks check.
    if rank == 0 and config.run_dir is not None and not arguments.fresh and not is_restarted():
        files = RunDir(Path(config.run_dir))
        if files.holds_run():
            require_continuable(config, files)

    install_sigterm_grace()
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.workflows.train import Start, train

    train(
        config,
        opened=opened,
        pipeline_name=Path(arguments.pipeline).stem,
        verbosity=arguments.verbosity,
        start=Start(is_fresh=arguments.fresh, weights=weights),
    )


def _initial_weights(config: RunConfig, path: Path | None) -> tuple[RunConfig, Path | None]:
    """Returns the configuration and the checkpoint to begin with; a model file is a `model`."""
    if path is None:
        return config, None
    if path.suffix == ".keras":
        return dataclasses.replace(config, model=KerasFile(name="keras_file", path=str(path))), None
    if not path.is_dir():
        raise ConfigError(
            "--from",
            got=str(path),
            expected="a directory of a checkpoint or of a run, or a .keras file",
            fix="`hvd-imgcls checkpoints RUN` lists the checkpoints of a run",
        )
    return config, path
