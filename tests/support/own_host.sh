#!/bin/sh
# own_host.sh COMMAND...: as if this rank of mpirun were alone on its host. So several ranks can share one GPU, which
# NCCL refuses within a host; their messages then take its socket transport.
export OMPI_COMM_WORLD_LOCAL_RANK=0 OMPI_COMM_WORLD_LOCAL_SIZE=1
export NCCL_HOSTID="rank$OMPI_COMM_WORLD_RANK" NCCL_SOCKET_IFNAME=lo NCCL_IB_DISABLE=1
exec "$@"
