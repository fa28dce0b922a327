# syntax=docker/dockerfile:1
# docker build -f deploy/worker.cuda.Dockerfile -t qwen-queue-worker-cuda --build-arg CUDA_COMPUTE_CAP=90 .
# docker build -f deploy/worker.cuda.Dockerfile -t qwen-queue-worker-cuda --target video .    with ffmpeg
# docker run --gpus device=0 … qwen-queue-worker-cuda
#
# CUDA_COMPUTE_CAP: 80 for A100, 86 for RTX 30, 89 for RTX 40 and L4, 90 for H100. The image has not been built and run on
# a GPU yet; docs/ENGINE.md says what has been tested. It needs no write access but to LOG_DIR and HF_HOME.
FROM rust:1.95-bookworm AS build
ARG CUDA_COMPUTE_CAP=90
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The toolkit is installed in a separate layer because it rarely changes.
COPY scripts/cuda-toolkit scripts/
RUN scripts/cuda-toolkit /opt/cuda-toolkit
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    CUDA_TOOLKIT=/opt/cuda-toolkit scripts/cuda-build \
    && install -D --strip target/cuda/release/qwen-queue-worker /root-fs/usr/local/bin/qwen-queue-worker \
    && install -D -t /root-fs/usr/local/lib/cuda \
        /opt/cuda-toolkit/nvidia/cu13/lib/libcudart.so.13 /opt/cuda-toolkit/nvidia/cu13/lib/libcublas.so.13 \
        /opt/cuda-toolkit/nvidia/cu13/lib/libcublasLt.so.13 /opt/cuda-toolkit/nvidia/cu13/lib/libcurand.so.10 \
    && mkdir -p /owned/etc/qwen-queue /owned/var/log/qwen-queue /owned/models

FROM busybox:1.37-musl AS busybox

FROM debian:bookworm-slim AS base
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="qwen-queue-worker-cuda" \
      org.opencontainers.image.description="Worker of qwen-queue for NVIDIA GPUs" \
      org.opencontainers.image.source="https://github.com/qwen-queue/qwen-queue" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libstdc++6 && rm -rf /var/lib/apt/lists/*
COPY --from=busybox /bin/busybox /bin/busybox
COPY --from=build /root-fs/ /
COPY --from=build --chown=10001:10001 /owned/ /
RUN echo /usr/local/lib/cuda > /etc/ld.so.conf.d/cuda.conf && ldconfig
# NVIDIA's container runtime provides libcuda (compute) and NVML (utility), which reports GPU metrics.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV LOG_DIR=/var/log/qwen-queue HF_HOME=/models METRICS_PORT=9100
USER 10001:10001
WORKDIR /etc/qwen-queue
# Healthy once the first model is loaded. An empty METRICS_PORT turns the metrics and this check off.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30m --start-interval=2s \
    CMD ["/bin/busybox", "sh", "-c", "test -z \"$METRICS_PORT\" || /bin/busybox wget -q -O - http://127.0.0.1:$METRICS_PORT/metrics | /bin/busybox grep -q ^model_load_time_seconds_count"]
ENTRYPOINT ["qwen-queue-worker"]

FROM base AS video
USER 0:0
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/*
USER 10001:10001

FROM base AS small
