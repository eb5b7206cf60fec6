"""Starts the ranks of a job on one or many hosts: what `horovodrun` does with Gloo.

Our patches make `horovodrun` call `horovodrun.run` of this package instead of its own launcher.
Nothing here imports TensorFlow or Horovod, and nothing that comes from the network is unpickled.
"""
