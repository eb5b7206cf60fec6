"""Builds Horovod for the installed TensorFlow, with our patches, and checks that it works.

Nothing here imports TensorFlow or Horovod: facts about them come from the Python in which they
are installed, which may be another one than the one that runs this.
"""
