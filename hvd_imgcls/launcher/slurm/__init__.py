"""Starts ranks inside an allocation of Slurm: `hvd-imgcls launch`.

`srun` starts one task per rank on the nodes of the job. The launcher tells each task over its
rendezvous server which rank it is, and learns from it how the rank ended.
"""
