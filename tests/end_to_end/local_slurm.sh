#!/usr/bin/env bash
# A real Slurm of two nodes on this one machine, for tests: Debian's slurm-wlm and munge, without accounting and cgroups.
#   local_slurm.sh start DIR     starts its daemons, which write into DIR alone; then: export SLURM_CONF=DIR/slurm.conf
#   local_slurm.sh stop DIR      ends the jobs and the daemons that `start` started
# As root. The nodes n1 and n2 are two slurmd of one host; the CPUs, GPUs and memory that they tell are made up.
set -euo pipefail
verb=${1:?start or stop} dir=$(realpath -m "${2:?a folder}")
export SLURM_CONF="$dir/slurm.conf"
if [ "$verb" = stop ]; then
  timeout 20 scancel --me 2>/dev/null || true
  for _ in $(seq 30); do [ -z "$(timeout 5 squeue --me --noheader 2>/dev/null)" ] && break; sleep 0.5; done
  touch "$dir/stopped"
  for name in slurmd.n1 slurmd.n2 slurmctld munged; do
    if [ -s "$dir/$name.pid" ]; then kill "$(cat "$dir/$name.pid")" 2>/dev/null || true; fi
  done
  exit 0
fi

mkdir -p "$dir"/{state,spool.n1,spool.n2,munge,socket}
chmod 755 "$dir" "$dir/socket"   # munged refuses a folder that others can write, and clients have to reach its socket
chmod 700 "$dir/munge"
head -c 1024 /dev/urandom > "$dir/munge/key"
chmod 400 "$dir/munge/key"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
host=$(hostname -s)
cat > "$SLURM_CONF" <<CONF
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/socket/munge.sock
CredType=cred/munge
SlurmctldPidFile=$dir/slurmctld.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmdLogFile=$dir/slurmd.%n.log
SlurmdSpoolDir=$dir/spool.%n
StateSaveLocation=$dir/state
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=10
UnkillableStepTimeout=180
SlurmdTimeout=20
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0,sched_interval=2
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$(free_port) CPUs=64 RealMemory=16000 Gres=gpu:8 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$(free_port) CPUs=64 RealMemory=16000 Gres=gpu:8 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
touch "$dir"/gpu{0..7}
echo "Name=gpu File=$dir/gpu[0-7]" > "$dir/gres.conf"
munged --force --key-file="$dir/munge/key" --socket="$dir/socket/munge.sock" --pid-file="$dir/munged.pid" \
  --log-file="$dir/munge/munged.log" --seed-file="$dir/munge/seed"
slurmctld -f "$SLURM_CONF" -c
# Debian's slurmd dies of a segmentation fault in libc now and then; begun again, it finds its jobs as they were. No core
# dump is left: this runs in a checkout.
ulimit -c 0
for node in n1 n2; do
  (until slurmd -D -f "$SLURM_CONF" -N "$node" || [ -e "$dir/stopped" ]; do sleep 1; done) &
done
for _ in $(seq 60); do
  [ "$(sinfo --noheader --Node --format=%T 2>/dev/null | grep -c idle)" = 2 ] && exec sinfo
  sleep 0.5
done
echo "error: no two idle nodes after 30 s; see $dir/*.log" >&2
exit 1
