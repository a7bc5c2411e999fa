#!/bin/sh
# A training over four machines under Slurm:  sbatch examples/slurm.sh
#
# One rank a machine, with all of its cores.  --out, base and samples lie where all machines see them (only rank 0 writes).
# Slurm needs PMIx (`srun --mpi=list` shows it), alphar a build with MPI (make MPI=1).
#SBATCH --job-name=alphar
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
set -eu
cores=$(($(nproc) / ${SLURM_NTASKS_PER_NODE:-1}))

# --resume begins anew where there is no checkpoint, so that a job that is queued again goes on.
exec srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="$cores" --cpu-bind=none \
    alphar train --model "$HOME/base" --data "$HOME/train.jsonl" --out "$HOME/my-adapter" --batch 32 --resume --quiet
