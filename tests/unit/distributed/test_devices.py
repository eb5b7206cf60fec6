"""Threads of a process that has used TensorFlow already."""

import logging

import tensorflow as tf

from hvd_imgcls.distributed import devices


def test_a_process_that_has_used_tensorflow_keeps_its_threads_and_says_so(caplog):
    tf.constant(1) + 1
    before = tf.config.threading.get_intra_op_parallelism_threads()
    with caplog.at_level(logging.INFO):
        devices.configure(intra_op_threads=before + 1, inter_op_threads=1, local_rank=0)
    assert tf.config.threading.get_intra_op_parallelism_threads() == before
    assert "threads and GPUs are unchanged" in caplog.text
