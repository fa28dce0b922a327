# docker build -f deploy/worker.Dockerfile -t qwen-queue-worker .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p qwen-queue-worker \
    && cp target/release/qwen-queue-worker /usr/local/bin/

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 qwen-queue \
    && mkdir -p /var/log/qwen-queue /models && chown qwen-queue /var/log/qwen-queue /models
COPY --from=build /usr/local/bin/qwen-queue-worker /usr/local/bin/
USER qwen-queue
WORKDIR /tmp
ENTRYPOINT ["qwen-queue-worker"]
