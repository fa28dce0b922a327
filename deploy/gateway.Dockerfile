# syntax=docker/dockerfile:1
# docker build -f deploy/gateway.Dockerfile -t qwen-queue-gateway .
# docker build -f deploy/gateway.Dockerfile -t qwen-queue-gateway --target video .    with ffmpeg: accepts MP4, WebM, …
#
# Needs no write access but to LOG_DIR. Settings may also be mounted as /etc/qwen-queue/.env or qwen-queue.yaml.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p qwen-queue-gateway \
    && install -D --strip target/release/qwen-queue-gateway /root-fs/usr/local/bin/qwen-queue-gateway \
    && mkdir -p /owned/etc/qwen-queue /owned/var/log/qwen-queue

FROM busybox:1.37-musl AS busybox

FROM debian:bookworm-slim AS video
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="qwen-queue-gateway" \
      org.opencontainers.image.description="HTTP gateway of qwen-queue, with ffmpeg for videos" \
      org.opencontainers.image.source="https://github.com/qwen-queue/qwen-queue" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates ffmpeg && rm -rf /var/lib/apt/lists/*
COPY --from=busybox /bin/busybox /bin/busybox
COPY --from=build /root-fs/ /
COPY --from=build --chown=10001:10001 /owned/ /
ENV LOG_DIR=/var/log/qwen-queue
USER 10001:10001
WORKDIR /etc/qwen-queue
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["/bin/busybox", "sh", "-c", "/bin/busybox wget -q -O /dev/null http://127.0.0.1:${PORT:-8000}/health"]
ENTRYPOINT ["qwen-queue-gateway"]

# The default: no shell but busybox' for the health check, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot AS small
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="qwen-queue-gateway" \
      org.opencontainers.image.description="HTTP gateway of qwen-queue" \
      org.opencontainers.image.source="https://github.com/qwen-queue/qwen-queue" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=busybox /bin/busybox /bin/busybox
COPY --from=build /root-fs/ /
COPY --from=build --chown=10001:10001 /owned/ /
ENV LOG_DIR=/var/log/qwen-queue
USER 10001:10001
WORKDIR /etc/qwen-queue
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["/bin/busybox", "sh", "-c", "/bin/busybox wget -q -O /dev/null http://127.0.0.1:${PORT:-8000}/health"]
ENTRYPOINT ["qwen-queue-gateway"]
