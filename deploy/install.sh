#!/usr/bin/env bash
# Installs qwen-queue on one machine with systemd: Redis with a password, a gateway, and a worker on the CPU or one for each GPU.
#
#   deploy/install.sh --binary target/release/qwen-queue                      a CPU worker
#   deploy/install.sh --binary … --cuda target/cuda/release/qwen-queue-worker --gpus 2     workers for GPU 0 and 1
#   deploy/install.sh --binary … --redis-url redis://:PASSWORD@host:6379      a machine with workers only
#
# Run it again with new binaries to update: settings stay as they are. For Debian and Ubuntu. docs/DEPLOYING.md.
#
#   --binary FILE      the program qwen-queue
#   --cuda FILE        the program qwen-queue-worker, built for CUDA
#   --gpus N           workers for the first N GPUs, instead of one on the CPU
#   --model NAME       MODEL_NAME of a new installation (default: demo)
#   --redis-url URL    use this Redis, and install neither Redis nor a gateway
#   --root DIR         write the files below DIR and change nothing else: to look at them, or for an image
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary='' cuda='' gpus=0 model=demo redis_url='' root=''

usage() {
    sed -n '2,/^set /{/^#/!d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}
fail() {
    echo "install.sh: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --binary | --cuda | --gpus | --model | --redis-url | --root)
            [ $# -gt 1 ] || fail "$1 needs a value"
            case $1 in
                --binary) binary=$2 ;;
                --cuda) cuda=$2 ;;
                --gpus) gpus=$2 ;;
                --model) model=$2 ;;
                --redis-url) redis_url=$2 ;;
                --root) root=$2 ;;
            esac
            shift 2
            ;;
        *) usage ;;
    esac
done

[ -x "$binary" ] || fail "--binary must name the program qwen-queue: '$binary' is no program"
[[ $gpus =~ ^[0-9]+$ ]] || fail "--gpus must be a number: '$gpus'"
if [ "$gpus" -gt 0 ]; then [ -x "$cuda" ] || fail "--gpus needs --cuda with the program qwen-queue-worker: '$cuda' is no program"; fi
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run it as root, or with --root DIR"

etc=$root/etc/qwen-queue
units=$root/etc/systemd/system
redis_configuration=$root/etc/redis/redis-qwen-queue.conf
secret() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
# on_machine COMMAND …: runs it, unless files are only written below --root
on_machine() { if [ -z "$root" ]; then "$@"; fi; }

install_packages() {
    local packages=(ca-certificates) has_redis=true
    if $with_gateway; then
        packages+=(redis-server)
        command -v redis-server >/dev/null || has_redis=false
    fi
    on_machine apt-get update -qq
    DEBIAN_FRONTEND=noninteractive on_machine apt-get install -y -qq --no-install-recommends "${packages[@]}"
    # Debian starts a Redis without password at once. Nothing here uses it.
    if ! $has_redis; then on_machine systemctl disable --now redis-server.service; fi
}

add_user() {
    id qwen-queue >/dev/null 2>&1 || on_machine useradd --system --user-group --home-dir /var/lib/qwen-queue --shell /usr/sbin/nologin qwen-queue
}

# A Redis of its own, on port 6390, so that another one on this machine stays as it is.
configure_redis() {
    local password
    if [ -e "$redis_configuration" ]; then
        password=$(sed -n 's/^user qwen-queue on >\([^ ]*\) .*/\1/p' "$redis_configuration")
        redis_url=redis://qwen-queue:$password@127.0.0.1:6390
        return
    fi
    password=$(secret)
    redis_url=redis://qwen-queue:$password@127.0.0.1:6390
    install -d -m 755 "$(dirname "$redis_configuration")"
    # The user's rights are those of docs/OPERATING.md, "What Redis must allow".
    (
        umask 077
        cat >"$redis_configuration" <<END
bind 127.0.0.1 -::1
port 6390
dir /var/lib/redis/qwen-queue
logfile /var/log/redis/redis-qwen-queue.log
pidfile /run/redis-qwen-queue/redis-server.pid
appendonly yes
appendfsync everysec
auto-aof-rewrite-min-size 256mb
maxmemory 1gb
maxmemory-policy noeviction
user default off
user qwen-queue on >$password ~qq:* resetchannels &qq:* $(redis_rights)
END
    )
    on_machine chown redis:redis "$redis_configuration"
    on_machine install -d -o redis -g redis -m 750 /var/lib/redis/qwen-queue
    on_machine systemctl enable --now redis-server@qwen-queue.service
}

# The commands of the rule that the documentation has.
redis_rights() {
    sed -n 's/^ACL SETUSER qwen-queue .* &qq:\* //p' "$here/../docs/OPERATING.md"
}

write_settings() {
    install -d -m 755 "$etc"
    if [ -e "$etc/.env" ]; then return; fi
    (
        umask 077
        {
            echo "# Settings of qwen-queue: docs/CONFIGURATION.md. After a change of keys: systemctl reload 'qwen-queue-*'; of others: restart."
            echo "REDIS_URL=$redis_url"
            echo "MODEL_NAME=$model"
            echo
            echo "# A worker that is stopped has this long to finish its running tasks: less than TimeoutStopSec of its unit."
            echo "DRAIN_SECONDS=120"
            if $with_gateway; then gateway_settings; fi
        } >"$etc/.env"
    )
    on_machine chown root:qwen-queue "$etc/.env"
    on_machine chmod 640 "$etc/.env"
}

gateway_settings() {
    cat <<END

API_KEYS=$(secret)
ADMIN_API_KEY=$(secret)

# The gateway is reached through nginx on this machine (deploy/nginx.conf), operators' routes on a port of their own.
HOST=127.0.0.1
ADMIN_PORT=9000
TRUSTED_PROXIES=127.0.0.1
END
}

install_programs() {
    install -D -m 755 "$binary" "$root/usr/local/bin/qwen-queue.new"
    mv "$root/usr/local/bin/qwen-queue.new" "$root/usr/local/bin/qwen-queue" # a running program can't be overwritten
    if [ -n "$cuda" ]; then
        install -m 755 "$cuda" "$root/usr/local/bin/qwen-queue-worker-cuda.new"
        mv "$root/usr/local/bin/qwen-queue-worker-cuda.new" "$root/usr/local/bin/qwen-queue-worker-cuda"
    fi
    install -d -m 755 "$units"
    install -m 644 -t "$units" "$here"/systemd/*
}

# Starts what is new, and restarts what runs: workers one by one, each after it has finished its tasks.
start() {
    local services=() service
    if $with_gateway; then services+=(qwen-queue-gateway.service); fi
    if [ "$gpus" -gt 0 ]; then
        for ((gpu = 0; gpu < gpus; gpu++)); do services+=("qwen-queue-worker@$gpu.service"); done
        # That of an earlier run without GPUs.
        if [ -e "$units/qwen-queue.target.wants/qwen-queue-worker.service" ]; then
            on_machine systemctl disable --now qwen-queue-worker.service
        fi
    else
        services+=(qwen-queue-worker.service)
    fi
    on_machine systemctl daemon-reload
    on_machine systemctl enable qwen-queue.target "${services[@]}"
    for service in "${services[@]}"; do on_machine systemctl restart "$service"; done
}

with_gateway=true
if [ -n "$redis_url" ]; then with_gateway=false; fi

install_packages
add_user
if $with_gateway; then configure_redis; fi
write_settings
install_programs
start

echo "qwen-queue is installed. Keys and settings: $etc/.env"
if $with_gateway; then echo "Next: nginx with TLS (deploy/nginx.conf); until then http://127.0.0.1:8000 on this machine."; fi
