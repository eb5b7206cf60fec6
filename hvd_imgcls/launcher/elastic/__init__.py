"""Runs a job again from its last saved state whenever its hosts change or fail.

The ranks are started anew, because TensorFlow and Gloo do not survive the loss of a rank in a
state that can be trusted. The supervisor is the launcher itself; it keeps no state of the training.
"""
