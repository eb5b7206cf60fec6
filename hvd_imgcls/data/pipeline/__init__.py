"""The `tf.data` datasets of a rank."""
