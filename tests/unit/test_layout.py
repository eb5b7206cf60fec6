"""The limits that keep the code readable: sizes of files, functions, folders and signatures."""

import ast
from collections import Counter
from pathlib import Path

import hvd_imgcls

PACKAGE = Path(hvd_imgcls.__file__).parent
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS, MAX_FILES_IN_FOLDER = 300, 60, 7, 20
# Their arguments are Horovod's.
HOROVODS = {"DistributedOptimizer", "DistributedGradientTape", "allreduce", "grouped_allreduce"}


def functions():
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            owner = node.name if isinstance(node, ast.ClassDef) else None
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{path.relative_to(PACKAGE)}: {child.name}", owner or child.name, child


def num_lines(function):
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = first.end_lineno - first.lineno + 1 if is_docstring else 0
    return function.end_lineno - function.lineno + 1 - docstring


def num_parameters(function):
    names = [
        argument.arg
        for argument in (
            *function.args.posonlyargs,
            *function.args.args,
            *function.args.kwonlyargs,
        )
    ]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_files_are_small():
    sizes = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert len(sizes) > 300
    assert {str(path): n for path, n in sizes.items() if n > MAX_FILE_LINES} == {}


def test_functions_are_short():
    found = {where: num_lines(function) for where, _, function in functions()}
    assert len(found) > 1000
    assert {where: n for where, n in found.items() if n > MAX_FUNCTION_LINES} == {}


def test_functions_have_few_parameters():
    found = {where: num_parameters(f) for where, owner, f in functions() if owner not in HOROVODS}
    assert {where: n for where, n in found.items() if n > MAX_PARAMETERS} == {}


def test_folders_can_be_taken_in_at_a_glance():
    found = Counter(path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    assert {str(folder): n for folder, n in found.items() if n > MAX_FILES_IN_FOLDER} == {}


def test_no_room_is_for_everything():
    names = {path.stem for path in PACKAGE.rglob("*")}
    assert names.isdisjoint({"utils", "util", "common", "helpers", "misc"})
