"""The models of `keras.applications`, and their published weights."""
