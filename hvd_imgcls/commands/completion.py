"""`hvd-imgcls completion SHELL`."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import shtab

from hvd_imgcls.commands.arguments.parsing import make_overview, make_parser
from hvd_imgcls.commands.command_list import COMMANDS
from hvd_imgcls.config.reading import walk
from hvd_imgcls.config.reading.packaged import pipeline_names
from hvd_imgcls.environment.topology import launched_rank_and_size

SHELLS = ("bash", "zsh")
_PIPELINES = {shell: "_hvd_imgcls_pipelines" for shell in SHELLS}
_PREAMBLE = {
    "bash": """_hvd_imgcls_pipelines() {{
  compgen -W "{names}" -- "$1"
  compgen -o plusdirs -f -X "!*.yaml" -- "$1"
}}
""",
    "zsh": """_hvd_imgcls_pipelines() {{
  compadd {names}
  _files -g "*.yaml"
}}
""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `completion`."""
    parser.epilog = (
        "bash: hvd-imgcls completion bash > ~/.local/share/bash-completion/completions/hvd-imgcls\n"
        "zsh:  hvd-imgcls completion zsh > _hvd-imgcls, in a folder of $fpath"
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(arguments: argparse.Namespace) -> None:
    """Prints the script. Root only: a no-op elsewhere."""
    if launched_rank_and_size()[0] == 0:
        sys.stdout.write(script_for(arguments.shell))


def script_for(shell: str) -> str:
    """Returns the script that completes commands, options, keys, pipelines and file names.

    Args:
        shell: One of `SHELLS`.
    """
    overview = make_overview()
    (commands,) = (a for a in overview._actions if isinstance(a, argparse._SubParsersAction))
    for name, command in COMMANDS.items():
        commands._name_parser_map[name] = _completable(
            make_parser(name, importlib.import_module(command.module))
        )
    preamble = _PREAMBLE[shell].format(names=" ".join(pipeline_names()))
    text: str = shtab.complete(overview, shell=shell, preamble={shell: preamble})  # type: ignore[arg-type]
    return text


def _completable(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the keys of a pipeline file, and says which arguments are files."""
    for action in parser._actions:
        if action.dest == "pipeline":
            action.complete = _PIPELINES  # type: ignore[attr-defined]
        elif action.choices is not None and action.nargs == "*":
            action.choices = [choice for choice in action.choices if isinstance(choice, str)]
        elif action.type is Path or action.dest in ("images", "check_with"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    if parser.get_default("overrides") is not None:
        for path in sorted(set(map(walk.dotted, walk.all_keys()))):
            parser.add_argument(f"--{path}", metavar="VALUE")
    return parser
