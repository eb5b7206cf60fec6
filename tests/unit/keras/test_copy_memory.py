"""Memory for copies of variables can be touched in advance."""

import resource

import tensorflow as tf

from hvd_imgcls.keras.state import copy_memory
from hvd_imgcls.keras.state.variables import arrays_of, prepare_copies

NUM_VALUES = 2**24


def faults_of(action):
    """Returns the pages that an action touches first, and its result."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    result = action()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, result


def test_a_prepared_copy_touches_no_new_memory():
    prepared = [tf.Variable(tf.zeros([NUM_VALUES]))]
    others = [tf.Variable(tf.zeros([NUM_VALUES - 16]))]
    prepare_copies([prepared]).join()
    in_advance, copies = faults_of(lambda: arrays_of(prepared))
    at_once, other_copies = faults_of(lambda: arrays_of(others))
    assert in_advance < at_once / 2, (in_advance, at_once)
    assert copies["values"][0].nbytes == other_copies["values"][0].nbytes + 64


def test_memory_that_is_being_touched_is_in_use():
    thread = copy_memory.touch([2**26, 2**26])
    during = copy_memory.take(2**26)
    during[:] = 1
    thread.join()
    assert during.min() == 1
