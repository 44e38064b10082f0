#!/bin/bash
# One run under Slurm, requeued until it is done: submit it from the checkout, with the environment's python first in PATH.
#   sbatch launch/slurm.sh model=llama3 hardware=a100x16
#   sbatch --nodes=1 --gpus-per-node=4 launch/slurm.sh model=llama3 hardware=a100x4
# runs_dir and data_dir must be on a disk that all nodes share. What was run is in docs/running.md.
#SBATCH --job-name=cada_trl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
#SBATCH --signal=B:USR1@300
set -uo pipefail
cd "${SLURM_SUBMIT_DIR:?submit this script with sbatch}" || exit 2
source launch/slurm_step.sh
bash launch/preflight.sh "$@" || exit
# The launchers ignore USR1, as their children then do, until the trainer of each rank sets its own handler: a launcher that
# died of it would take the ranks with it.
# shellcheck disable=SC2016
on_each_node bash -c 'trap "" USR1; exec python -m cada_trl.train "$@"' train "$@"
