"""Builds the images with buildah, without a container engine and without a registry, and runs what was built.

Every line of the default images is executed. Stand-ins for the images that they begin with are made from Debian's packages, and
the stand-in for Rust's has a `cargo` that copies binaries that were built outside: those of target/release if they are there,
else those of target/debug, which are larger.
"""

import json
import os
import re
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from . import tools
from .basics import DEPLOY, ROOT, Failed, call, need, report_unchecked, require

# The binary of each image, and the most that a node may have to download for the image, in MB.
IMAGES = {"gateway": ("qwen-queue-gateway", 40), "worker": ("qwen-queue", None)}
# The Debian packages of each stand-in, and mmdebstrap's variant: `extract` only unpacks them.
STAND_INS = {
    "rust": ("minbase", ["binutils"]),
    "debian": ("minbase", []),
    "busybox": ("extract", ["busybox-static"]),
    "gcr.io/distroless/cc-debian12": ("extract", [
        "base-files", "ca-certificates", "libc6", "libgcc-s1", "libgomp1", "libssl3", "libstdc++6", "netbase", "tzdata"]),
}
# What Debian's own slim images leave out.
SLIM = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "locale", "man")]
CARGO = """#!/bin/sh
# Puts the binary of the package that is asked for where a build would put it.
while [ $# -gt 0 ]; do
  case $1 in -p) name=$2 ;; esac
  shift
done
mkdir -p target/release && cp "/binaries/$name" target/release/
"""
START_SECONDS = 60


def check_images():
    """Builds each image, measures it, and lets its health check judge it, read-only and as the user that it names."""
    tools.install_missing({"buildah": "buildah", "mmdebstrap": "mmdebstrap", "redis-server": "redis-server"})
    if not all([need(tool, "images") for tool in ("buildah", "mmdebstrap", "redis-server")]):
        return None
    if os.geteuid() != 0:
        report_unchecked("images: this is not root; run `buildah unshare deploy/check images`")
        return None
    binaries = find_binaries()
    with tempfile.TemporaryDirectory() as folder:
        builder = Builder(Path(folder), binaries)
        try:
            said = [check_image(builder, name) for name in IMAGES]
        finally:
            builder.remove_all()
    return f"{binaries.name} binaries; " + "; ".join(said)


def find_binaries():
    """Returns the folder of release binaries, or that of debug binaries if there are none."""
    wanted = [binary for binary, _ in IMAGES.values()]
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for folder in (target / "release", target / "debug"):
        if all((folder / binary).is_file() for binary in wanted):
            return folder
    raise Failed(f"no {' and '.join(wanted)} in {target}/release or /debug: build them first, `cargo build --release --workspace`")


def check_image(builder, name):
    """Builds an image and checks its size and its health. Returns what was found."""
    binary, most = IMAGES[name]
    image = builder.build(name)
    unpacked, packed = builder.measure(image)
    require(most is None or packed <= most, f"the image of the {name} has {packed:.1f} MB compressed, more than {most} MB")
    healthy = run_image(builder, image)
    return f"{name} {unpacked:.1f} MB, {packed:.1f} MB compressed, healthy after {healthy:.1f} s"


class Builder:
    """Runs buildah with a store of its own, so that no image of this machine is used or changed."""

    def __init__(self, folder, binaries):
        self.folder = folder
        self.binaries = binaries
        (folder / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        (folder / "registries.conf").write_text('unqualified-search-registries = ["docker.io"]\n')
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/images"\nrootless_storage_path = "{folder}/images"\nrunroot = "{folder}/run"\n')
        self.environment = {
            **os.environ, "BUILDAH_ISOLATION": "chroot", "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"), "TMPDIR": str(folder)}  # TMPDIR has the caches of builds

    def buildah(self, command, *arguments):
        """Runs a command of buildah and returns what it printed."""
        if command in ("bud", "commit", "from", "push"):
            arguments = ["--signature-policy", self.folder / "policy.json", *arguments]
        return call(["buildah", command, *arguments], env=self.environment).strip()

    def build(self, name):
        """Builds the default stage of an image and returns its name."""
        file = DEPLOY / f"{name}.Dockerfile"
        stages = set()
        for base, stage in re.findall(r"^FROM (\S+) AS (\S+)$", file.read_text(), re.M):
            if base not in stages:
                self.provide(base)
            stages.add(stage)
        # Debian's buildah is older than this option, which only makes the first checks come faster.
        copy = self.folder / file.name
        copy.write_text(re.sub(r" --start-interval=\S+", "", file.read_text()))
        image = f"localhost/qwen-queue-{name}"
        # Docker's format, since OCI's has no health checks.
        self.buildah("bud", "--format", "docker", "--pull-never", "--layers=false", "--file", copy, "--tag", image, ROOT)
        return image

    def provide(self, base):
        """Makes the stand-in for an image of a registry, unless it is there."""
        kind = base.split(":")[0]
        require(kind in STAND_INS, f"deploy/checks/images.py has no stand-in for {base}")
        name = base if "/" in base else f"docker.io/library/{base}"
        if name in self.buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines():
            return
        container = self.buildah("from", "scratch")
        self.buildah("add", container, make_root(kind), "/")
        if kind == "rust":
            (self.folder / "cargo").write_text(CARGO)
            (self.folder / "cargo").chmod(0o755)
            self.buildah("add", container, self.folder / "cargo", "/usr/local/bin/cargo")
            binaries = [self.binaries / binary for binary, _ in IMAGES.values()]
            self.buildah("add", container, *binaries, "/binaries/")
        self.buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        self.buildah("commit", "--rm", container, name)

    def measure(self, image):
        """Returns the size of an image in MB, unpacked and as a registry transfers it."""
        with tempfile.NamedTemporaryFile(dir=self.folder) as archive:
            os.unlink(archive.name)
            self.buildah("push", "--quiet", image, f"oci-archive:{archive.name}:image")
            packed = os.stat(archive.name).st_size
        container = self.buildah("from", "--pull-never", image)
        root = self.buildah("mount", container)
        unpacked = int(call(["du", "--summarize", "--bytes", root]).split()[0])
        self.buildah("rm", container)
        return unpacked / 1e6, packed / 1e6

    def remove_all(self):
        """Removes all containers and images, which may be mounted."""
        for what in (["rm", "--all"], ["rmi", "--all", "--force"]):
            subprocess.run(["buildah", *what], env=self.environment, capture_output=True)


def make_root(kind):
    """Returns an archive with the files of a stand-in. It is made once per build folder."""
    variant, packages = STAND_INS[kind]
    archive = tools.HOME / "images" / f"{kind.replace('/', '-')}.tar"
    if archive.exists():
        return archive
    archive.parent.mkdir(exist_ok=True)
    part = archive.with_name(f"part-{os.getpid()}-{archive.name}")
    include = [f"--include={','.join(packages)}"] if packages else []
    hooks = []
    if "ca-certificates" in packages and variant == "extract":
        # No package is configured, so its script has not collected the certificates.
        hooks = ['--customize-hook=mkdir -p "$1/etc/ssl/certs" && cat "$1"/usr/share/ca-certificates/mozilla/*.crt > "$1/etc/ssl/certs/ca-certificates.crt"']
    call(["mmdebstrap", f"--variant={variant}", *SLIM, *include, *hooks, "bookworm", part])
    part.rename(archive)
    return archive


def run_image(builder, image):
    """Runs an image's entry point in its own files, which are read-only, until its health check succeeds. Returns the seconds."""
    container = builder.buildah("from", "--pull-never", image)
    config = json.loads(builder.buildah("inspect", container))["Docker"]["config"]
    require(config["User"] not in ("", "0", "root", "0:0"), f"{image} runs as root")
    root = builder.buildah("mount", container)
    user = int(config["User"].split(":")[0])
    require(Path(f"{root}/var/log/qwen-queue").stat().st_uid == user, f"the folder of logs in {image} belongs to another user")
    port, redis_port = free_port(), free_port()
    settings = {"PORT": port, "METRICS_PORT": free_port(), "REDIS_URL": f"redis://127.0.0.1:{redis_port}", "MODEL_NAME": "demo",
                "API_KEYS": "key-of-a-check", "HOME": "/nowhere"}
    environment = [*config["Env"], *(f"{name}={value}" for name, value in settings.items())]

    def inside(command):
        return ["chroot", f"--userspec={config['User']}", root, "/bin/busybox", "env", "-i", *environment,
                "/bin/busybox", "sh", "-c", 'cd "$0" && exec "$@"', config["WorkingDir"], *command]

    log = builder.folder / "log"
    redis = subprocess.Popen(["redis-server", "--port", str(redis_port), "--save", ""], stdout=subprocess.DEVNULL)
    # All mounts end with the process that has them.
    mounts = (f'cd "{root}"; mount --bind . .; cd "{root}"; mount -o remount,ro,bind .; '
              'for folder in dev proc; do mount --rbind /$folder $folder; done; '
              'for folder in tmp var/log/qwen-queue; do mount -t tmpfs -o mode=1777 tmpfs $folder; done; exec "$@"')
    with log.open("w") as output:
        command = [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]
        process = subprocess.Popen(["unshare", "--mount", "sh", "-ec", mounts, "sh", *inside(command)], stdout=output, stderr=output)
    began = time.monotonic()
    try:
        def succeeds(command):
            enter = ["nsenter", f"--mount=/proc/{process.pid}/ns/mnt"]
            return subprocess.run([*enter, *inside(command)], capture_output=True).returncode == 0

        while not succeeds(config["Healthcheck"]["Test"][1:]):
            lived = process.poll() is None and time.monotonic() - began < START_SECONDS
            require(lived, f"{image} does not become healthy:\n{log.read_text()}")
            time.sleep(0.1)
        healthy = time.monotonic() - began
        require(not succeeds(["/bin/busybox", "touch", "file"]), f"the files of {image} can be written in this check")
        owner = Path(f"/proc/{process.pid}").stat().st_uid
        require(owner == user, f"{image} runs as user {owner}")
        process.terminate()
        require(process.wait(START_SECONDS) == 0, f"{image} does not stop well:\n{log.read_text()}")
    finally:
        process.kill()
        redis.terminate()
        redis.wait()
    builder.buildah("rm", container)
    return healthy


def free_port():
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
