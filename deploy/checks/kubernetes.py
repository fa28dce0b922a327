"""Checks the Kubernetes files: schemas, targets of patches, containers, and KEDA's ScaledObjects."""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from .basics import DEPLOY, Failed, call, check_shell, read_documents, report_unchecked, require
from .promql import check_query
from .tools import NODE_MODULES

FOLDER = DEPLOY / "kubernetes"


def check_kubernetes():
    """Checks each overlay as kustomize builds it, or each file alone without kustomize."""
    overlays = sorted((FOLDER / "overlays").iterdir())
    builder = next((words for words in (["kustomize", "build"], ["kubectl", "kustomize"]) if shutil.which(words[0])), None)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        if builder:
            for overlay in overlays:
                files.append(Path(folder) / f"{overlay.name}.yaml")
                files[-1].write_text(call([*builder, overlay]))
        else:
            report_unchecked("kubernetes: the overlays, since there is neither kustomize nor kubectl; each file alone was")
            everything = FOLDER.rglob("*.yaml")
            partial = {"kustomization.yaml", "adapter-rule.yaml"}
            files = [file for file in everything if file.name not in partial and "overlays" not in file.parts]
        # No overlay uses this component.
        files.append(FOLDER / "components/hpa/worker-scaler.yaml")
        said = call(["kubernetes-validate", "--strict", *files])
        unknown = set(re.findall(r"Couldn't find schema for kind (\w+)", said)) - {"ScaledObject"}
        require(not unknown, f"kinds without a schema: {sorted(unknown)}")
        check_patch_targets(overlays)
        check_containers(files)
        check_scaled_objects(files)
    return ", ".join(overlay.name for overlay in overlays) if builder else "each file alone"


def check_patch_targets(overlays):
    """Checks that each patch has something to change: kustomize is silent if a target matches nothing."""
    sources = [file for file in FOLDER.rglob("*.yaml") if "overlays" not in file.parts]
    there = read_documents(sources)
    for overlay in overlays:
        for patch in read_documents([overlay / "kustomization.yaml"])[0].get("patches", []):
            target = patch.get("target")
            if target and not any(
                document.get("kind") == target["kind"] and document["metadata"]["name"] == target.get("name", document["metadata"]["name"])
                for document in there
            ):
                raise Failed(f"{overlay.name}: a patch is for {target}, which is not there")


def check_containers(files):
    """Checks what the API does not: file systems are read-only, scripts have no mistakes, there is time to drain and to load."""
    settings = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / "base/settings.env").read_text(), re.M))
    for document in read_documents(files):
        if document["kind"] not in ("Deployment", "StatefulSet"):
            continue
        name = document["metadata"]["name"]
        pod = document["spec"]["template"]["spec"]
        for container in pod.get("initContainers", []) + pod["containers"]:
            closed = container["securityContext"]
            require(closed["readOnlyRootFilesystem"] and not closed["allowPrivilegeEscalation"], f"{name} is not closed")
            if container.get("command", [""])[0] == "sh":
                check_shell(container["args"][0], name)
        if name == "worker":
            grace = pod["terminationGracePeriodSeconds"]
            require(grace > int(settings["DRAIN_SECONDS"]) + 10, f"{grace} s are too short for DRAIN_SECONDS")
            require(pod["containers"][0]["startupProbe"]["failureThreshold"] >= 60, "no time to load a model")


def check_scaled_objects(files):
    """Checks the queries of ScaledObjects, and their schema if npm has installed it."""
    found = [document for document in read_documents(files) if document["kind"] == "ScaledObject"]
    found += read_documents([FOLDER / "components/keda/worker-scaler.yaml"])
    for document in found:
        for trigger in document["spec"]["triggers"]:
            check_query(trigger["metadata"]["query"])
    if not NODE_MODULES.exists() or not shutil.which("node"):
        report_unchecked("kubernetes: the ScaledObject's schema, since there is no npm")
        return
    script = """const { ScaledObject } = require('@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject');
        for (const found of JSON.parse(require('fs').readFileSync(0, 'utf8'))) new ScaledObject(found).validate();"""
    environment = {**os.environ, "NODE_PATH": str(NODE_MODULES)}
    call(["node", "-e", script], input=json.dumps(found), env=environment)
