"""`hvd-imgcls predict RUN_DIR|MODEL.keras IMAGES ... [--out FILE]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hvd_imgcls.commands.arguments.model_argument import add_trained, find_trained
from hvd_imgcls.commands.arguments.overrides import add_overrides
from hvd_imgcls.commands.plan import positive
from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.outside import MAX_LIST_BYTES, read_bounded
from hvd_imgcls.files.text_files import lines_of, read_lines
from hvd_imgcls.interruption import install_sigterm_grace
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `predict`."""
    add_trained(parser)
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGES",
        help="files, folders or quoted glob patterns; - reads a list from standard input",
    )
    parser.add_argument(
        "--list", type=Path, metavar="FILE", help="text file with one path per line (see also -)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="output: .csv, .jsonl or .parquet; default: a table on standard output",
    )
    parser.add_argument(
        "--top-k",
        type=positive,
        help="classes listed per image (default: 5 in a file, 2 in the table)",
    )
    parser.add_argument(
        "--piece-size",
        type=positive,
        default=32,
        help="batch size per rank (default: 32)",
    )
    add_overrides(parser)


def _from_standard_input() -> bytes:
    """Returns the list on standard input.

    Raises:
        ConfigError: If it is closed, or has more than `MAX_LIST_BYTES`.
    """
    try:
        return read_bounded(sys.stdin.buffer, Path("standard input"), MAX_LIST_BYTES)
    except (OSError, AttributeError) as error:  # There is no `sys.stdin` if it was closed.
        raise ConfigError(
            "-",
            got=f"standard input ({getattr(error, 'strerror', None) or 'closed'})",
            expected="one path per line",
            fix="pipe a list into this command, or use --list FILE",
        ) from error


def run(arguments: argparse.Namespace) -> None:
    """Predicts. Collective: every rank must call this."""
    from hvd_imgcls.workflows.predicting.output import require_format

    if arguments.out is not None:
        require_format(arguments.out)
    top_k = arguments.top_k or (2 if arguments.out is None else 5)
    trained = find_trained(arguments)
    class_names = trained.require_class_names()
    words, lines = list(arguments.images), []
    if arguments.list is not None:
        words.append("-")
        lines = read_lines("--list", arguments.list, "the path of an image", any_bytes=True)
    elif "-" in words:
        lines = lines_of(_from_standard_input(), any_bytes=True)

    install_sigterm_grace()
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.workflows.predict import predict_files
    from hvd_imgcls.workflows.predicting.job import Job

    job = Job(
        config=trained.config,
        model_path=trained.model_path,
        class_names=class_names,
        top_k=min(top_k, len(class_names)),
        out_path=arguments.out,
        piece_size=arguments.piece_size,
        is_trusted=arguments.trust_model,
    )
    result = predict_files(job, words, lines, verbosity=arguments.verbosity)
    if launched_rank_and_size()[0] == 0:
        for line in result["table"]:
            sys.stdout.write(f"{line}\n")
