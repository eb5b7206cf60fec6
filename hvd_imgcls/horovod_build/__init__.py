"""Builds Horovod for the installed TensorFlow, with our patches, and checks that it works.

Nothing here imports TensorFlow or Horovod: what must be known of them is asked of the
Python they are installed in, which need not be the one that runs this.
"""
