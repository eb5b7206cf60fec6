"""Arguments and options in any order, for every command."""

import importlib
import itertools
from types import SimpleNamespace

import pytest

from hvd_imgcls import cli

COMMANDS = {
    "predict": (["RUN"], ["photos", "b.jpg"], [["--out", "p.csv"], ["--top-k=3"], ["--quiet"]]),
    "evaluate": (["RUN"], [], [["--out", "x"], ["--no-ema"], ["--data.cache", "none"]]),
    "export": (["RUN"], [], [["--to", "x"], ["--format", "onnx", "litert"], ["--check-with", "a"]]),
    "report": (["A"], ["B", "C"], [["--out", "x.html"], ["--verbose"]]),
    "check-data": (["photos"], [], [["--manifest", "m"], ["--force"], ["--split-seed", "3"]]),
    "prepare": (["photos", "to"], [], [["--raw"], ["--hosts", "4"], ["--seed", "-1"]]),
    "train": (["p.yaml"], [], [["--quiet"], ["--train.seed", "3"], ["--run_dir=x"]]),
    "launch": ([], [], [["--requeue"], ["--grace", "3"], ["--output=x"]]),
    "plan": (["p.yaml"], [], [["--size", "4"], ["--json"], ["--train.seed", "3"]]),
    "show-data": (["p.yaml"], [], [["--num", "4"], ["--split", "train"]]),
    "statistics": (["p.yaml"], [], [["--quiet"], ["--train.seed", "3"]]),
    "bench": (["step"], [], [["--pairs", "3"], ["--out", "x"]]),
    "init": (["photos"], [], [["--out", "p.yaml"], ["--no-measure"], ["--minutes", "3"]]),
    "checkpoints": (["run"], [], [["--verify"], ["--export", "m.keras"]]),
    "watch": (["run"], [], [["--once"], ["--interval", "0.5"], ["--quiet"]]),
    "runs": ([], ["runs"], [["--verbose"]]),
    "keys": ([], ["data", "model"], [["--quiet"]]),
    "models": ([], [], [["--all"], ["--image-size", "32"], ["--json"]]),
    "doctor": ([], [], [["--quiet"]]),
    "completion": (["bash"], [], [["--quiet"]]),
    "install-horovod": ([], [], [["--mpi"], ["--gpu", "nccl"], ["--jobs", "2"]]),
}


def test_every_command_is_tried():
    assert set(COMMANDS) == set(cli.COMMANDS)


@pytest.fixture
def parsed(monkeypatch):
    """A function from a command line to the parsed arguments, without running the command."""

    def parse(words):
        seen = []

        def import_module(name):
            module = importlib.import_module(name)
            return SimpleNamespace(add_arguments=module.add_arguments, run=seen.append)

        with monkeypatch.context() as patch:
            patch.setattr(cli, "importlib", SimpleNamespace(import_module=import_module))
            cli.main(words)
        return vars(seen[0])

    return parse


@pytest.mark.parametrize("name", COMMANDS)
def test_any_order_is_understood_alike(parsed, name):
    required, others, options = COMMANDS[name]
    words = [*required, *others]
    expected = parsed([name, *words, *itertools.chain(*options)])
    for order in itertools.permutations(options):
        for places in itertools.product(range(len(words) + 1), repeat=len(options)):
            line = [[word] for word in words]
            for place, option in sorted(zip(places, order, strict=True), key=lambda p: -p[0]):
                line.insert(place, option)
            flat = list(itertools.chain(*line))
            found = parsed([name, *flat])
            found["overrides"] = expected["overrides"] = None
            assert found == expected, flat


def test_names_after_two_dashes_may_begin_with_a_dash_or_look_like_keys(parsed):
    names = ["-a.jpg", "--data.cache", "--out"]
    found = parsed(["predict", "RUN", "--out", "p.csv", "--", *names])
    assert (str(found["target"]), found["images"], str(found["out"])) == ("RUN", names, "p.csv")
    assert found["overrides"] == []
    assert parsed(["predict", "--out", "p.csv", "--", "RUN", "-a.jpg"])["images"] == ["-a.jpg"]
    assert parsed(["predict", "RUN", "-", "--out", "p.csv"])["images"] == ["-"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "RUN"], "required: --to"),
        (["predict", "RUN", "photos", "--out"], "--out: expected one argument"),
        (["predict", "RUN", "--out", "p.csv", "--ot", "x"], "unrecognized arguments: --ot"),
        (["train", "p.yaml", "--lr", "3"], "did you mean --schedule.base_learning_rate?"),
        (["train", "p.yaml", "--lr=3"], "did you mean --schedule.base_learning_rate?"),
        (["predict", "--out", "p.csv"], "required: RUN_DIR|MODEL.keras"),
        (["models", "resnet20"], "unrecognized arguments: resnet20"),
        (["doctor", "--", "now"], "unrecognized arguments: now"),
        (["train", "a.yaml", "b.yaml"], "unrecognized arguments: b.yaml"),
        (["export", "RUN", "--to", "x", "--format", "word"], "invalid choice: 'word'"),
    ],
)
def test_what_is_missing_or_too_much_is_named(words, said, capsys):
    assert cli.exit_code_of(lambda: cli.main(words)) == 2
    assert said in capsys.readouterr().err
