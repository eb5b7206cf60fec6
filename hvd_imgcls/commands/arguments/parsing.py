"""The parsers of the command line: one for `--help` alone, and one per command."""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import NoReturn

from hvd_imgcls import __version__
from hvd_imgcls.commands.command_list import COMMANDS
from hvd_imgcls.errors import HvdImgclsError
from hvd_imgcls.logs import Verbosity

USAGE_EXIT_CODE = 2


class UsageError(HvdImgclsError):
    """The command line is empty, incomplete or contradictory."""

    exit_code = USAGE_EXIT_CODE


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises its errors, so that they are printed once."""

    def error(self, message: str) -> NoReturn:
        """Raises a UsageError."""
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


def make_parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """Returns the parser of a command.

    Args:
        name: The command.
        module: Its module.
    """
    parser = Parser(
        prog=f"hvd-imgcls {name}",
        description=COMMANDS[name].help,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_verbosity(parser)
    module.add_arguments(parser)
    return parser


def make_overview() -> argparse.ArgumentParser:
    """Returns the parser of `hvd-imgcls --help`, which knows only the names of the commands."""
    parser = Parser(
        prog="hvd-imgcls",
        description="Train image classifiers with Keras 3 and TensorFlow on many machines.",
        epilog="Run `hvd-imgcls COMMAND --help` for the options of a command. On several ranks:\n"
        "  horovodrun -np 4 hvd-imgcls train pipelines/digits_cnn.yaml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hvd_imgcls {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.help)
    return parser


def _add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Adds `--verbose` and `--quiet`, stored in `arguments.verbosity`."""
    group = parser.add_mutually_exclusive_group()
    for verbosity, help_text in (
        (Verbosity.VERBOSE, "log everything on every rank, and print tracebacks of errors"),
        (Verbosity.QUIET, "print only the result, warnings and errors"),
    ):
        group.add_argument(
            f"--{verbosity.value}",
            dest="verbosity",
            action="store_const",
            const=verbosity,
            default=Verbosity.NORMAL,
            help=help_text,
        )
