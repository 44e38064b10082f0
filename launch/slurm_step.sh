# Sourced by the script of a Slurm job.
#   on_each_node COMMAND...      runs it once on each node, then ends the script: back in the queue until the command is done
# The script's own shell gets USR1 by --signal=B:USR1@300, and every process of the command gets it from here.
TRY_AGAIN=75                           # EX_TEMPFAIL: the run stopped at a checkpoint because it was asked to
MOST_RESTARTS=${MOST_RESTARTS:-50}     # a run that fails after each signal must end some day
first_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# A node's name need not be known to the network, its address is. Jobs that share a node need a port each.
MASTER_ADDR=$(scontrol show node "$first_node" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
# Since Slurm 22.05 srun does not take the job's --cpus-per-task over.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
MASTER_ADDR=${MASTER_ADDR:-$first_node}
export MASTER_ADDR MASTER_PORT="${MASTER_PORT:-$((10000 + SLURM_JOB_ID % 20000))}"

nodes_answer() { timeout 60 srun --overlap --nodes="$1" --ntasks="$1" true 2> /dev/null; }

on_each_node() {
  # shellcheck disable=SC2016
  srun --kill-on-bad-exit=1 bash -c 'NODE_RANK=$SLURM_NODEID exec "$@"' step "$@" &
  step=$!
  asked_to_stop= cancelled=
  trap 'asked_to_stop=yes; kill -USR1 "$step"' USR1
  trap 'cancelled=yes; kill -USR1 "$step"' TERM      # scancel, a step longer than the limit, preemption: Slurm's own to requeue
  wait "$step"; code=$?
  while kill -0 "$step" 2>/dev/null; do wait "$step"; code=$?; done     # a signal ends a wait early

  # A node that died: the ranks on the others end with an error, minutes before Slurm itself takes the node for dead.
  if [ "$code" -ne 0 ] && [ "$code" -ne "$TRY_AGAIN" ] && [ -z "$asked_to_stop$cancelled" ] && [ "$SLURM_JOB_NUM_NODES" -gt 1 ] \
    && nodes_answer 1 && ! nodes_answer "$SLURM_JOB_NUM_NODES"; then
    echo "a node of the job does not answer: requeued" >&2
    asked_to_stop=yes
  fi
  # A rank may die of what the others took down, hence the second condition.
  if [ -z "$cancelled" ] && { [ "$code" -eq "$TRY_AGAIN" ] || { [ -n "$asked_to_stop" ] && [ "$code" -ne 0 ]; }; }; then
    if [ "${SLURM_RESTART_COUNT:-0}" -lt "$MOST_RESTARTS" ]; then
      scontrol requeue "$SLURM_JOB_ID"
      exit "$TRY_AGAIN"
    fi
    [ "$MOST_RESTARTS" -gt 0 ] || exit "$TRY_AGAIN"       # who submitted the job decides
    echo "not requeued: restarted ${SLURM_RESTART_COUNT} times already" >&2
  fi
  exit "$code"
}
