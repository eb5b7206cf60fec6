"""`hvd-imgcls doctor`: whether this machine is ready to train, and what to do if not.

Imports neither TensorFlow nor Horovod: both are asked in processes of their own, so that a
broken one is a line of the report and not the end of it.
"""

from hvd_imgcls.doctor.command import add_arguments, run

__all__ = ["add_arguments", "run"]
