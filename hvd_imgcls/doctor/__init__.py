"""`hvd-imgcls doctor`: whether this machine is ready to train, and what to do if it is not.

Imports neither TensorFlow nor Horovod: both are checked in separate processes, so that a broken
one is a line of the report instead of the end of it.
"""

from hvd_imgcls.doctor.command import add_arguments, run

__all__ = ["add_arguments", "run"]
