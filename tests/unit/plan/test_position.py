from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.plan.position import Position


@given(
    batches_per_step=st.integers(1, 5),
    epochs=st.lists(st.integers(0, 12), max_size=5),
    batches=st.integers(0, 12),
)
def test_a_position_is_what_has_been_counted(batches_per_step, epochs, batches):
    position = Position(batches_per_step)
    for of_epoch in epochs:
        for _ in range(of_epoch):
            position.end_batch()
        position.end_epoch()
    for _ in range(batches):
        position.end_batch()
    finished = sum(epochs) + batches
    assert position.num_batches == finished
    assert position.step * batches_per_step + position.passes == finished
    assert 0 <= position.passes < batches_per_step
    assert position.epoch == len(epochs)
    assert position.batch_in_epoch == batches
    assert position.step_in_epoch == batches // batches_per_step


@given(batches=st.integers(0, 20), epochs=st.integers(0, 3))
def test_a_restored_position_is_the_same(batches, epochs):
    position, other = Position(2), Position(2)
    for _ in range(epochs):
        position.end_batch()
        position.end_epoch()
    for _ in range(batches):
        position.end_batch()
    other.restore(position.state())
    assert other.state() == position.state()
    assert other.batch_in_epoch == position.batch_in_epoch == batches
