"""Checks docker-compose.yml: its schema, references, profiles, settings, scripts and paths."""

import re
import shutil
import subprocess

from .basics import ROOT, call, check_shell, read_setting_names, read_yaml, report_unchecked, require

FILE = ROOT / "docker-compose.yml"


def check_compose():
    """Checks the whole file. Returns the names of its profiles."""
    call(["check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE])
    whole = read_yaml(FILE)
    services = whole["services"]
    check_references(whole)
    profiles = sorted({profile for service in services.values() for profile in service.get("profiles", [])})
    resolve(profiles)
    default = {name for name, service in services.items() if not service.get("profiles")}
    require(default == {"redis", "gateway", "worker"}, f"`up -d` must start redis, gateway and worker, not {default}")
    check_settings()
    check_scripts(services)
    check_paths()
    return f"profiles {', '.join(profiles)}"


def check_references(whole):
    """Checks that services name only services, networks and volumes that the file defines."""
    services = whole["services"]
    for name, service in services.items():
        for part, known in (("depends_on", services), ("networks", whole["networks"])):
            missing = set(service.get(part, [])) - set(known)
            require(not missing, f"{part} of {name} names what is not there: {missing}")
        named = {volume.split(":")[0] for volume in service.get("volumes", []) if volume[0] not in "./$"}
        require(named <= set(whole["volumes"]), f"{name} has volumes that are not there: {named - set(whole['volumes'])}")


def resolve(profiles):
    """Lets Compose resolve the file, without profiles and with all of them."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        tool = ["docker", "compose"]
    else:
        tool = ["podman-compose", "--podman-path", "/bin/echo"]  # only resolves the file: podman is not called
        report_unchecked("docker-compose.yml: resolved by podman-compose, since there is no `docker compose`")
    for chosen in ([], profiles):
        call([*tool, "-f", FILE, *(word for name in chosen for word in ("--profile", name)), "config"])


def check_settings():
    """Checks that .env.example describes each variable that the file uses."""
    unknown = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", FILE.read_text())) - read_setting_names()
    require(not unknown, f"not in .env.example: {unknown}")


def check_scripts(services):
    """Checks the scripts that services run, with the values that Compose fills in."""
    for name in ("redis", "nginx"):
        script = re.sub(r"(?<!\$)\$\{[A-Z_]+:-([^}]*)\}", r"\1", services[name]["command"][0])
        check_shell(script.replace("$$", "$"), name)


def check_paths():
    """Checks that the deployment files and Dockerfiles that the file names exist."""
    text = FILE.read_text()
    for path in re.findall(r"\./(deploy/[\w./-]+)", text) + re.findall(r"dockerfile: (\S+)", text):
        require((ROOT / path).exists() or path.startswith("deploy/tls/"), f"docker-compose.yml names {path}, which is not there")
