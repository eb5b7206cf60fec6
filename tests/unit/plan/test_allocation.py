import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.plan.allocation import Allocation
from tests.support.digits_plans import plan_of


def allocation_of(*changes, size=2):
    allocation = Allocation(plan_of(size=size)[1])
    for step, parts in changes:
        allocation.change(step, parts)
    return allocation


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 63)), max_size=5), st.integers(0, 60))
def test_the_parts_of_a_step_are_a_division_of_its_slots(changes, step):
    first, expected = 0, (32, 32)
    allocation = allocation_of()
    for later, part in changes:
        first += later
        allocation.change(first, (part, 64 - part))
        expected = (part, 64 - part) if first <= step else expected
    assert allocation.parts(step) == expected
    slots = [allocation.slots(step, rank) for rank in range(2)]
    assert [list(range(64))[part] for part in slots] == [
        list(range(expected[0])),
        list(range(expected[0], 64)),
    ]


def test_examples_are_counted_by_rank():
    allocation = allocation_of((3, (20, 44)), (7, (40, 24)))
    for first, last in ((0, 3), (0, 10), (2, 8), (7, 9), (4, 4)):
        steps = range(first, last)
        expected = [sum(allocation.parts(step)[rank] for step in steps) for rank in range(2)]
        assert allocation.examples(first, last) == expected


def test_steps_since_the_last_change_are_counted():
    allocation = allocation_of((3, (20, 44)))
    assert [allocation.num_equal(step) for step in range(6)] == [1, 2, 3, 1, 2, 3]


def test_a_later_decision_replaces_one_that_has_not_begun():
    allocation = allocation_of((8, (20, 44)), (8, (40, 24)), (5, (30, 34)))
    assert [allocation.parts(step) for step in (4, 5, 8)] == [(32, 32), (30, 34), (30, 34)]


def test_parts_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="64 examples"):
        allocation_of((3, (20, 20)))
    with pytest.raises(ValueError, match="64 examples"):
        allocation_of((3, (20, 20, 24)))


def test_nothing_is_taken_while_it_is_held():
    allocation = allocation_of()
    allocation.take(3, 0)
    taken = []
    with allocation.held() as next_step:
        assert next_step == 4
        thread = threading.Thread(target=lambda: taken.append(allocation.take(4, 0)))
        thread.start()
        thread.join(0.2)
        assert taken == []
        allocation.change(4, (10, 54))
    thread.join(10)
    assert taken == [slice(0, 10)]
    with allocation.held() as next_step:
        assert next_step == 5


def test_a_batch_that_is_taken_again_does_not_open_later_ones():
    allocation = allocation_of()
    for step in (0, 1, 2, 3, 1):
        allocation.take(step, 0)
    with allocation.held() as next_step:
        assert next_step == 4


def test_the_state_restores_all_changes():
    first, second = allocation_of((3, (20, 44)), (7, (40, 24))), allocation_of()
    second.restore(first.state())
    assert second.state() == first.state()
    assert second.parts(5) == (20, 44)


def test_on_another_number_of_ranks_all_parts_are_equal_again():
    allocation = allocation_of(size=4)
    allocation.restore(allocation_of((3, (20, 44))).state())
    assert allocation.parts(9) == (16, 16, 16, 16)
