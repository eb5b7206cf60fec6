"""Distributed training of image classifiers with Keras 3, TensorFlow and Horovod.

Importing this package imports neither TensorFlow nor Horovod. Existing Keras
projects import `hvd_imgcls.keras`; complete runs start with the command
`hvd-imgcls`.
"""

__version__ = "0.1.0"
