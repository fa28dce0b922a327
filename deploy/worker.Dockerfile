# syntax=docker/dockerfile:1
# docker build -f deploy/worker.Dockerfile -t qwen-queue-worker .
# docker build -f deploy/worker.Dockerfile -t qwen-queue-worker --target video .    with ffmpeg: reads MP4, WebM, …
#
# The image has the whole command line, so that it also downloads models and operates the system:
#   docker run … qwen-queue-worker                       a worker
#   docker run … qwen-queue-worker model pull NAME       downloads a model to /models
#   docker run … qwen-queue-worker top                   watches the system (QWEN_QUEUE_URL, ADMIN_API_KEY)
# It needs no write access but to LOG_DIR and HF_HOME.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p qwen-queue \
    && install -D --strip target/release/qwen-queue /root-fs/usr/local/bin/qwen-queue \
    && mkdir -p /owned/etc/qwen-queue /owned/var/log/qwen-queue /owned/models

FROM busybox:1.37-musl AS busybox

FROM debian:bookworm-slim AS base
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="qwen-queue-worker" \
      org.opencontainers.image.description="CPU worker and command line of qwen-queue" \
      org.opencontainers.image.source="https://github.com/qwen-queue/qwen-queue" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=busybox /bin/busybox /bin/busybox
COPY --from=build /root-fs/ /
COPY --from=build --chown=10001:10001 /owned/ /
ENV LOG_DIR=/var/log/qwen-queue HF_HOME=/models METRICS_PORT=9100
USER 10001:10001
WORKDIR /etc/qwen-queue
# Healthy once the first model is loaded. An empty METRICS_PORT turns the metrics and this check off.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30m --start-interval=2s \
    CMD ["/bin/busybox", "sh", "-c", "test -z \"$METRICS_PORT\" || /bin/busybox wget -q -O - http://127.0.0.1:$METRICS_PORT/metrics | /bin/busybox grep -q ^model_load_time_seconds_count"]
ENTRYPOINT ["qwen-queue"]
CMD ["worker"]

FROM base AS video
USER 0:0
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/*
USER 10001:10001

FROM base AS small
