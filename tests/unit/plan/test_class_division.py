"""How classes are divided over ranks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.plan.class_division import ClassDivision


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 10**6))
def test_every_class_is_in_one_part_of_each_copy(num_parts, num_copies, more):
    division = ClassDivision(
        num_classes=num_parts + more, num_parts=num_parts, size=num_parts * num_copies
    )
    parts = [division.classes(part) for part in range(num_parts)]
    assert parts[0].start == 0
    assert parts[-1].stop == division.num_classes
    assert all(one.stop == following.start for one, following in itertools.pairwise(parts))
    sizes = [len(part) for part in parts]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    for rank in range(division.size):
        group, copies = division.group(rank), division.copies(rank)
        assert rank in group
        assert rank in copies
        assert sorted(map(division.part, group)) == list(range(num_parts))
        assert {division.part(one) for one in copies} == {division.part(rank)}
        assert len(copies) == num_copies
        assert all(division.group(one) == group for one in group)


@pytest.mark.parametrize(("num_classes", "num_parts", "size"), [(3, 4, 4), (10, 2, 3), (10, 0, 2)])
def test_impossible_divisions_are_errors(num_classes, num_parts, size):
    with pytest.raises(ValueError, match="num_parts"):
        ClassDivision(num_classes=num_classes, num_parts=num_parts, size=size)
