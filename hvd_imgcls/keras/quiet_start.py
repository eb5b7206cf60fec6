"""Imported before all others: TensorFlow prints when it is imported."""

from hvd_imgcls.tensorflow_import import import_quietly_unless_asked

import_quietly_unless_asked()
