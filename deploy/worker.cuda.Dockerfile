# docker build -f deploy/worker.cuda.Dockerfile -t qwen-queue-worker-cuda .
# docker run --gpus all … qwen-queue-worker-cuda
# The image has not been tested on a GPU yet; see docs/ENGINE.md.
FROM rust:1.95-bookworm AS build
ARG CUDA_COMPUTE_CAP=90
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The toolkit is installed in a separate layer because it rarely changes.
COPY scripts/cuda-toolkit scripts/
RUN scripts/cuda-toolkit /opt/cuda-toolkit
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    CUDA_TOOLKIT=/opt/cuda-toolkit scripts/cuda-build \
    && cp target/cuda/release/qwen-queue-worker /usr/local/bin/ \
    && mkdir /opt/cuda-libraries \
    && cd /opt/cuda-toolkit/nvidia/cu13/lib \
    && cp libcudart.so.13 libcublas.so.13 libcublasLt.so.13 libcurand.so.10 /opt/cuda-libraries/

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 qwen-queue \
    && mkdir -p /var/log/qwen-queue /models && chown qwen-queue /var/log/qwen-queue /models
COPY --from=build /opt/cuda-libraries/ /usr/local/lib/cuda/
RUN echo /usr/local/lib/cuda > /etc/ld.so.conf.d/cuda.conf && ldconfig
COPY --from=build /usr/local/bin/qwen-queue-worker /usr/local/bin/
# Make NVIDIA's container runtime provide libcuda (compute) and NVML (utility), which reports GPU metrics.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER qwen-queue
WORKDIR /tmp
ENTRYPOINT ["qwen-queue-worker"]
