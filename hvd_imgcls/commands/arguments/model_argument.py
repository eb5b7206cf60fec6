"""The trained model given to a command: a run, a model in its directory, or a model file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.config import RunConfig, load_config
from hvd_imgcls.config.data.sources import Source
from hvd_imgcls.errors import CheckpointError, ConfigError
from hvd_imgcls.files.class_lists import listed, misplaced, read_class_list
from hvd_imgcls.run_directory.classes import class_names_of, class_names_of_run, run_of
from hvd_imgcls.run_directory.paths import RunDir


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A trained model.

    Attributes:
        config: The configuration that it was trained with.
        model_path: A `.keras` file.
        run_path: The run directory that it belongs to; None for a standalone model file.
        class_names: `[num_classes]`; empty if unknown.
    """

    config: RunConfig
    model_path: Path
    run_path: Path | None
    class_names: tuple[str, ...]

    def require_class_names(self) -> tuple[str, ...]:
        """Returns the class names.

        Raises:
            ConfigError: If they are unknown.
        """
        if not self.class_names:
            raise ConfigError(
                "--classes",
                got="nothing",
                expected="a text file with one class name per line",
                fix=f"add --classes FILE: {self.model_path} belongs to no run with class names",
            )
        return self.class_names


def add_trained(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that select the model."""
    parser.add_argument(
        "target",
        metavar="RUN_DIR|MODEL.keras",
        type=Path,
        help="run directory, model in a run directory, or model file",
    )
    parser.add_argument(
        "--pipeline",
        metavar="FILE",
        help="pipeline file that defines preprocessing; default: that of the run",
    )
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="class names of the model: a text file with one per line, or a JSON list",
    )
    parser.add_argument(
        "--trust-model",
        action="store_true",
        help="load model files that contain code; only for files you trust",
    )
    parser.add_argument(
        "--ema",
        action=argparse.BooleanOptionalAction,
        help="for a run with train.ema: use the averaged weights (default), or the raw weights",
    )


def find_trained(arguments: argparse.Namespace) -> Trained:
    """Returns the model selected on the command line.

    Raises:
        CheckpointError: If there is no such model.
        ConfigError: If the pipeline of the model is unknown.
    """
    target: Path = arguments.target
    is_file = target.suffix == ".keras" or (target / "saved_model.pb").is_file()
    run_path = run_of(target) if is_file else target
    model_path = target if is_file else _model_of_run(RunDir(target), ema=arguments.ema)
    pipeline = arguments.pipeline or (run_path and RunDir(run_path).config)
    if pipeline is None:
        raise ConfigError(
            "--pipeline",
            got="nothing",
            expected="the pipeline file that the model was trained with",
            fix=f"add --pipeline pipelines/NAME.yaml after {target}",
        )
    if not model_path.exists():
        raise CheckpointError(
            f"{model_path}: no such file, expected a Keras model; "
            "pass the directory of a finished run, or a .keras file"
        )
    return Trained(
        config=load_config(pipeline, arguments.overrides, is_of_run=arguments.pipeline is None),
        model_path=model_path,
        run_path=run_path,
        class_names=_class_names(arguments.classes, model_path, run_path),
    )


def has_other_images(trained: Trained, overrides: Sequence[str]) -> bool:
    """Returns whether the images are others than those that a model was trained with.

    Without a run, they are those of the pipeline file, unless the command line changes them. The
    same images with a split of their own, such as another `held_out_fraction`, are not others.

    Args:
        trained: The model.
        overrides: Arguments that change its configuration.
    """
    source = trained.config.data.source
    if any(word.startswith("--data.source.held_out_fraction") for word in overrides):
        return False
    if trained.run_path is None:
        return any(word.startswith("--data.source") or word == "--data" for word in overrides)
    own = load_config(RunDir(trained.run_path).config, is_of_run=True).data.source
    return _place(source) != _place(own)


def _place(source: Source) -> tuple[str, ...]:
    """Returns where images come from, regardless of how they are split."""
    keys = ("path", "dataset", "data_dir")
    values = [str(value) for key in keys if (value := getattr(source, key, None)) is not None]
    return source.name, *(os.path.realpath(os.path.expanduser(value)) for value in values)


def _model_of_run(files: RunDir, *, ema: bool | None) -> Path:
    if ema is None:
        return files.model
    if not files.model_without_ema.is_file():
        raise CheckpointError(
            f"{files.path}: a run without averaged weights (train.ema); omit --ema and --no-ema"
        )
    return files.model if ema else files.model_without_ema


def _class_names(path: Path | None, model_path: Path, run_path: Path | None) -> tuple[str, ...]:
    """Returns the names in `--classes`, or those in the files of the model.

    Raises:
        ConfigError: If the former contradict the latter.
    """
    if path is None:
        return class_names_of_run(run_path) if run_path else class_names_of(model_path)
    names = read_class_list("--classes", path)
    of_model = class_names_of(model_path)
    wrong = misplaced(of_model, names)
    if of_model and (wrong is not None or len(names) != len(of_model)):
        raise ConfigError(
            "--classes",
            got=f"{path} with {listed(names)}",
            expected=f"the {len(of_model):,} classes of the model, in their order: "
            f"{listed(of_model)}",
            fix="omit --classes: the model comes with its classes",
        )
    return names
