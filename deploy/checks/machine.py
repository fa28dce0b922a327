"""Checks the files for one machine without containers: units of systemd, nginx.conf, and what install.sh writes."""

import re
import subprocess
import tempfile
import time
from pathlib import Path

from .basics import DEPLOY, ROOT, call, need, read_yaml, replace, require

# The most that a unit may have in systemd's sum of what it may do, from 0 to 10.
MOST_EXPOSURE = 2.0


def check_systemd():
    """Verifies the units, and how much they may do. Returns their exposure."""
    if not need("systemd-analyze", "systemd"):
        return None
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        units = []
        for unit in sorted((DEPLOY / "systemd").iterdir()):
            # The programs are not installed here, and only an instance of a template can be verified.
            copy = Path(folder) / unit.name.replace("@.", "@0.")
            copy.write_text(re.sub(r"=/usr/local/bin/qwen-queue[\w-]*", "=/bin/true", unit.read_text()))
            units.append(copy)
        said = call(["systemd-analyze", "verify", *units])
        require(folder not in said, said)
        for unit in units:
            if unit.suffix == ".service":
                said = call(["systemd-analyze", "security", "--offline=true", unit])
                exposure = re.search(r"exposure level for (\S+): ([\d.]+)", said)
                figures.append(f"{exposure[1]} {exposure[2]}")
                require(float(exposure[2]) <= MOST_EXPOSURE, f"{unit.name} may do too much: {exposure[2]} > {MOST_EXPOSURE}")
    return "exposure " + ", ".join(figures)


def check_nginx():
    """Lets nginx test nginx.conf: as it is, and as the container of docker-compose.yml rewrites it."""
    if not need("nginx", "nginx.conf"):
        return None
    text = (DEPLOY / "nginx.conf").read_text()
    script = read_yaml(ROOT / "docker-compose.yml")["services"]["nginx"]["command"][0]
    with tempfile.TemporaryDirectory() as folder:
        call(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
              "-subj", "/CN=localhost", "-keyout", f"{folder}/qwen-queue.key", "-out", f"{folder}/qwen-queue.pem"])
        own = replace(text, [("/etc/ssl/llm.example.com", f"{folder}/qwen-queue")])
        Path(folder, "template").write_text(text)
        rewrite = replace(script.split("exec nginx")[0], [
            ("$$SERVER_NAME", "_"), ("${EDGE_NETWORK:-172.30.47}", "127.0.0"), ("/etc/ssl/qwen-queue", f"{folder}/qwen-queue"),
            ("/etc/nginx/qwen-queue.conf", f"{folder}/template"), ("/etc/nginx/conf.d/default.conf", f"{folder}/rewritten")])
        call(["sh", "-ec", rewrite])
        rewritten = Path(folder, "rewritten").read_text()
        require("server 127.0.0.2:8000;" in rewritten and "example.com" not in rewritten, f"Compose's sed missed a line:\n{rewritten}")
        for name, server in (("own", own), ("compose", rewritten)):
            file = Path(folder, name)
            file.write_text(f"pid {folder}/pid; error_log stderr; events {{}}\nhttp {{ access_log off;\n{server}\n}}\n")
            call(["nginx", "-t", "-q", "-e", "stderr", "-c", file])


def check_installation():
    """Runs install.sh twice, and starts Redis with the configuration that it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        install = [DEPLOY / "install.sh", "--binary", "/bin/true", "--root", folder]
        call(install)
        settings = Path(folder, "etc/qwen-queue/.env")
        before = settings.read_text()
        require(settings.stat().st_mode & 0o777 == 0o600, "the settings can be read by others")
        call(install)
        require(settings.read_text() == before, "a second run changed the settings")
        if not need("redis-server", "the configuration of Redis"):
            return
        socket, log = f"{folder}/redis.sock", Path(folder, "log")
        written = Path(folder, "etc/redis/redis-qwen-queue.conf").read_text()
        Path(folder, "redis.conf").write_text(replace(written, [
            ("dir /var/lib/redis/qwen-queue", f"dir {folder}"), ("/var/log/redis/redis-qwen-queue.log", f"{folder}/own-log"),
            ("/run/redis-qwen-queue/redis-server.pid", f"{folder}/pid"), ("port 6390", f"port 0\nunixsocket {socket}")]))
        with log.open("w") as output:
            redis = subprocess.Popen(["redis-server", f"{folder}/redis.conf"], stdout=output, stderr=output)
        try:
            url = re.search(r"^REDIS_URL=redis://([^:]+):([^@]+)@", before, re.M)
            client = ["redis-cli", "-s", socket]
            for _ in range(200):
                if Path(socket).exists() or redis.poll() is not None:
                    break
                time.sleep(0.05)
            require(redis.poll() is None, f"Redis does not start:\n{log.read_text()}")
            require("NOAUTH" in call([*client, "ping"]), "Redis takes commands without a password")
            said = call([*client, "--no-auth-warning", "--user", url[1], "--pass", url[2], "ping"])
            require("PONG" in said, f"Redis refuses the password of the settings: {said}")
        finally:
            redis.terminate()
            redis.wait()
