"""The commands with their modules, which are imported only when the command runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One command.

    Attributes:
        module: Module with `add_arguments(parser)` and `run(arguments)`. `run` returns
            the exit code, or None for 0.
        help: One-line description for `--help`.
    """

    module: str
    help: str


COMMANDS = {
    "init": Command(
        module="hvd_imgcls.commands.init",
        help="look at a folder of images and write a pipeline file for it",
    ),
    "train": Command(
        module="hvd_imgcls.commands.train",
        help="train a pipeline, evaluate the model and write a run directory",
    ),
    "launch": Command(
        module="hvd_imgcls.launcher.slurm.command",
        help="start ranks in the tasks of a job of Slurm, without MPI",
    ),
    "plan": Command(
        module="hvd_imgcls.commands.plan",
        help="show what a run would do on any number of ranks, without starting it",
    ),
    "evaluate": Command(
        module="hvd_imgcls.commands.evaluate",
        help="compute exact metrics of a run or a model on all ranks",
    ),
    "predict": Command(
        module="hvd_imgcls.commands.predict",
        help="classify images on all ranks and write the predictions in input order",
    ),
    "export": Command(
        module="hvd_imgcls.commands.export",
        help="export a model for serving: a SavedModel that accepts encoded images",
    ),
    "report": Command(
        module="hvd_imgcls.commands.report",
        help="write a self-contained HTML report on a run, or a comparison of several runs",
    ),
    "runs": Command(
        module="hvd_imgcls.commands.runs",
        help="list the runs in a directory with their metrics and what differs",
    ),
    "watch": Command(
        module="hvd_imgcls.commands.watch",
        help="show a run while it lasts: progress, throughput, ranks and hosts side by side",
    ),
    "checkpoints": Command(
        module="hvd_imgcls.commands.checkpoints",
        help="list or verify the checkpoints of a run, or turn one into a Keras file",
    ),
    "check-data": Command(
        module="hvd_imgcls.commands.check_data",
        help="decode every image on all ranks, list the bad ones and write a manifest",
    ),
    "show-data": Command(
        module="hvd_imgcls.commands.show_data",
        help="draw images as the network sees them, before and after augmentation",
    ),
    "statistics": Command(
        module="hvd_imgcls.commands.statistics",
        help="compute mean and standard deviation of the training images for data.normalization",
    ),
    "keys": Command(
        module="hvd_imgcls.commands.keys",
        help="explain the keys of a section of a pipeline file",
    ),
    "models": Command(
        module="hvd_imgcls.commands.models",
        help="list all models with their parameters and multiply-adds",
    ),
    "prepare": Command(
        module="hvd_imgcls.commands.prepare",
        help="convert image files to record files with an index, on all ranks",
    ),
    "bench": Command(
        module="hvd_imgcls.bench.command",
        help="run benchmarks, each with its baseline in the same run",
    ),
    "doctor": Command(
        module="hvd_imgcls.doctor",
        help="check that this machine is ready: versions, Horovod, threads, network",
    ),
    "completion": Command(
        module="hvd_imgcls.commands.completion",
        help="print a script that completes commands, options and keys in bash or zsh",
    ),
    "install-horovod": Command(
        module="hvd_imgcls.horovod_build.command",
        help="build and install Horovod for the installed TensorFlow",
    ),
}
