#!/bin/bash
# One node: vLLM's server on GPUs of its own, the training on the others; the server ends with the training.
#   SERVER_GPUS=4 TRAIN_GPUS=0,1,2,3 bash launch/vllm_server.sh model=llama3 hardware=a100x4
#   SERVER_GPUS=4,5,6,7 TRAIN_GPUS=0,1,2,3 bash launch/vllm_server.sh model=llama3_70b peft=lora hardware=a100x4 tensor_parallel=4 \
#     n_probe_harmful=0 n_probe_harmless=0 n_header_pairs=0
# PORT=8001 chooses another port than 8000. The script says rollout= and server_url= itself.
# Never run: this script on a GPU.
set -euo pipefail
: "${SERVER_GPUS:?name the GPUs of the server, as in SERVER_GPUS=4}"
: "${TRAIN_GPUS:?name the GPUs of the training, as in TRAIN_GPUS=0,1,2,3}"
for word in "$@"; do
  case "$word" in rollout=* | server_url=* | backend=* | rollout.server_url=* | rollout.backend=*)
    echo "error: $word: this script starts the server and sets it; PORT=8001 chooses its port" >&2; exit 2 ;;
  esac
done
HOST=127.0.0.1 PORT=${PORT:-8000} WAIT_S=${WAIT_S:-600}
overrides=("$@" rollout=vllm_server "server_url='http://$HOST:$PORT'")

if (: < "/dev/tcp/$HOST/$PORT") 2>/dev/null; then
  echo "error: something answers at $HOST:$PORT already; name another port, as in PORT=8001" >&2; exit 2
fi
CUDA_VISIBLE_DEVICES=$SERVER_GPUS python -m cada_trl.rollouts.serve "${overrides[@]}" &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
until (: < "/dev/tcp/$HOST/$PORT") 2>/dev/null; do
  kill -0 "$server" 2>/dev/null || { echo "error: the vLLM server ended before it answered" >&2; exit 1; }
  [ "$SECONDS" -lt "$WAIT_S" ] || { echo "error: no vLLM server at $HOST:$PORT after $WAIT_S s" >&2; exit 1; }
  sleep 1
done

export CUDA_VISIBLE_DEVICES=$TRAIN_GPUS
bash launch/preflight.sh "${overrides[@]}"
# The training hears the signals, saves and says how it ended: a signal ends a wait before that.
python -m cada_trl.train "${overrides[@]}" &
training=$!
trap 'kill -TERM "$training" 2>/dev/null || true' INT TERM
trap 'kill -USR1 "$training" 2>/dev/null || true' USR1
while kill -0 "$training" 2>/dev/null; do wait "$training" || true; done
wait "$training"
