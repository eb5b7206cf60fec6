#!/bin/bash
# Eight ranks on two hosts with Open MPI 4:  bash jobs/mpi.sh host1:4,host2:4 8
#
# Needs Horovod with MPI (`hvd-imgcls install-horovod --mpi`) at the same path on every host, and ssh without a
# password. mpirun binds each rank to CORES_PER_RANK cores, 1 by default; the ranks take them as they are.
# Its syntax was checked; it was never run on several machines.
set -eu

hosts="${1:?usage: mpi.sh HOST:SLOTS,... RANKS}"
ranks="${2:?usage: mpi.sh HOST:SLOTS,... RANKS}"
cores_per_rank="${CORES_PER_RANK:-1}"
cd "$(dirname "$0")/.."

# Tensors in host memory need neither UCX nor openib.
exec mpirun -np "$ranks" -H "$hosts" \
    --map-by "slot:PE=$cores_per_rank" --bind-to core \
    -mca pml ob1 -mca btl '^openib' \
    -x PATH \
    "$PWD/.venv/bin/hvd-imgcls" train digits_cnn
