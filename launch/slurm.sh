#!/bin/bash
# One run under Slurm, requeued until it is done: submit it from the checkout, with the environment's python first in PATH.
#   sbatch launch/slurm.sh model=llama3 hardware=a100x16
#   sbatch --nodes=1 --gpus-per-node=4 launch/slurm.sh model=llama3 hardware=a100x4
# runs_dir and data_dir must be on a disk that all nodes share. Never run: this script under Slurm itself.
#SBATCH --job-name=cada_trl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
#SBATCH --signal=B:USR1@300
set -uo pipefail
TRY_AGAIN=75                           # EX_TEMPFAIL: the run stopped at a checkpoint because it was asked to
MOST_RESTARTS=${MOST_RESTARTS:-50}     # a run that fails after each signal must end some day
cd "${SLURM_SUBMIT_DIR:?submit this script with sbatch}" || exit 2
bash launch/preflight.sh "$@" || exit
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR MASTER_PORT="${MASTER_PORT:-29500}"

# USR1 reaches every process of the step. The launchers ignore it, as their children then do, until the trainer of each
# rank sets its own handler: a launcher that died of it would take the ranks with it.
# shellcheck disable=SC2016
srun --kill-on-bad-exit=1 bash -c 'trap "" USR1; NODE_RANK=$SLURM_NODEID exec python -m cada_trl.train "$@"' train "$@" &
step=$!
asked_to_stop=
trap 'asked_to_stop=yes; kill -USR1 "$step"' USR1 TERM
wait "$step"; code=$?
while kill -0 "$step" 2>/dev/null; do wait "$step"; code=$?; done     # a signal ends a wait early

# torchrun gives 1 for whatever a rank's exit code was, hence the second condition.
if [ "$code" -eq "$TRY_AGAIN" ] || { [ -n "$asked_to_stop" ] && [ "$code" -ne 0 ]; }; then
  if [ "${SLURM_RESTART_COUNT:-0}" -lt "$MOST_RESTARTS" ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
  fi
  echo "not requeued: restarted ${SLURM_RESTART_COUNT} times already" >&2
fi
exit "$code"
