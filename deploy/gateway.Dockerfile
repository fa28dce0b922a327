# docker build -f deploy/gateway.Dockerfile -t qwen-queue-gateway .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p qwen-queue-gateway \
    && cp target/release/qwen-queue-gateway /usr/local/bin/

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 qwen-queue \
    && mkdir -p /var/log/qwen-queue && chown qwen-queue /var/log/qwen-queue
COPY --from=build /usr/local/bin/qwen-queue-gateway /usr/local/bin/
USER qwen-queue
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s CMD curl -fsS http://127.0.0.1:8000/health || exit 1
ENTRYPOINT ["qwen-queue-gateway"]
