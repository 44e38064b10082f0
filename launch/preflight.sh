#!/bin/bash
# Before processes start: doctor's checks, then the request set, so that every rank only reads it.
#   bash launch/preflight.sh model=llama3 hardware=a100x4       (the overrides of cada_trl.train)
set -euo pipefail
python -m cada_trl.doctor "$@"
python -m cada_trl.prepare "$@"
