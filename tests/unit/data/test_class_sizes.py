import numpy as np
import pytest

from hvd_imgcls.cli import main
from hvd_imgcls.data.sources.class_sizes import describe_class_sizes, note_on_class_sizes


def labels(*counts):
    return np.repeat(np.arange(len(counts)), counts)


def test_the_smallest_and_the_largest_class_are_named():
    text = describe_class_sizes(labels(10, 2, 1000), ["cat", "dog", "newt"])
    assert text == "images per class: 2 (dog) to 1,000 (newt), median 10"
    assert describe_class_sizes(labels(), ["cat"]) is None


def test_weights_are_proposed_from_five_times_on():
    assert note_on_class_sizes(labels(10, 49), 2) is None
    assert "train.class_weights: balanced" in note_on_class_sizes(labels(10, 50), 2)
    assert "train.class_weights: balanced" in note_on_class_sizes(labels(10), 2)


@pytest.mark.parametrize(("count", "is_advised"), [(20, False), (200, True)])
def test_a_plan_tells_the_sizes(tmp_path, capsys, count, is_advised):
    for name, number in {"a": 20, "b": count}.items():
        (tmp_path / name).mkdir()
        for image in range(number):
            (tmp_path / name / f"{image}.jpg").touch()
    source = f"{{name: image_folder, path: {tmp_path}}}"
    words = ["--data.source", source, "--data.image_size", "32", "--train.global_batch_size", "8"]
    main(["plan", "pipelines/digits_cnn.yaml", *words])
    output = capsys.readouterr().out
    assert "note: images per class: 16 (a)" in output
    assert ("train.class_weights: balanced" in output) == is_advised
