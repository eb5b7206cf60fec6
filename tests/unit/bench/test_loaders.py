import pytest

from hvd_imgcls import cli
from hvd_imgcls.bench import command
from hvd_imgcls.bench.inputs import loaders
from hvd_imgcls.bench.inputs.settings import Settings

PYTHON = "/environment/bin/python"


@pytest.fixture
def seconds(monkeypatch):
    """CPU seconds per image of every arm, by the start of its name."""
    values = {}

    def take_turns(module, arms, rounds, *, others):
        assert module == loaders.OURS
        names = [*arms, *(other.args[0] for other in others)]
        assert {str(other.keywords["python"]) for other in others} == {PYTHON}
        return {name: {"wall": [1.0], "cpu": [values.get(name, 4.0)]} for name in names}

    monkeypatch.setattr(loaders, "take_turns", take_turns)
    return values


@pytest.fixture
def settings(tmp_path):
    folder = tmp_path / "photographs" / "train" / "a"
    folder.mkdir(parents=True)
    (folder / "0.jpg").touch()
    return Settings(pairs=1, torch_python=PYTHON, ffcv_python=PYTHON)


def test_row_i_compares_with_the_faster_number_of_workers(seconds, settings, tmp_path):
    seconds |= {"ours": 2.0, "torchvision, PIL images, one worker": 3.0}
    results = loaders.torchvision(settings, tmp_path)
    for value in ("uint8", "float"):
        best = results[f"i, {value}: ours / torchvision, PIL images, one worker"]
        assert best["ratio"]["cpu"]["ratio"] == pytest.approx(1.5)
        assert (best["goal"], best["reached"]) == ("at least 1.3", True)
        other = results[f"i, {value}: ours / torchvision, PIL images, no worker"]
        assert "goal" not in other
        assert f"i, {value}: ours / torchvision, tensors, no worker" in results


def test_row_j_writes_the_files_and_has_a_goal_for_those_of_jpeg(
    seconds, settings, tmp_path, monkeypatch
):
    written, prepared = [], []
    monkeypatch.setattr(loaders, "_write", lambda python, words: written.append(words))
    monkeypatch.setattr(loaders, "prepare_records", lambda *words: prepared.append(words))
    seconds["ours"] = 5.0
    results = loaders.ffcv(settings, tmp_path)
    assert [words[-1] for words in written] == ["1", "0.5"]
    assert prepared[0][2] == ["--max-side", "500"]
    result = results["j, float: ours / FFCV, JPEG"]
    assert (result["goal"], result["reached"]) == ("at least 1", False)
    assert "goal" not in results["j, uint8: ours / FFCV, half of the images as pixels"]


def test_row_j_without_its_environment_says_how_to_name_it(capsys):
    assert cli.exit_code_of(lambda: cli.main(["bench", "input", "--only", "j"])) == 2
    assert "--ffcv-python" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ([], "abcdefgh"),
        (["--torch-python", PYTHON], "abcdefghi"),
        (["--ffcv-python", PYTHON], "abcdefghj"),
        (["--only", "j", "f"], "fj"),
    ],
)
def test_rows_that_need_an_environment_are_measured_if_it_is_given(words, rows, monkeypatch):
    taken = []
    monkeypatch.setattr(
        command.input_bench, "run", lambda settings: taken.append(settings.only) or {}
    )
    assert cli.main(["bench", "input", *words]) == 0
    assert taken == [list(rows)]
