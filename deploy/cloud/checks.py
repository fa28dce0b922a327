"""Checks of the files for clouds, which deploy/check runs. Each yields its mistakes.

The containers are compared with the descriptions of the APIs that receive them: that of AWS in botocore, and that of Google in
google-api-python-client. Both are read from the packages' archives.
"""

import gzip
import json
import re
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def api(archives, package, path):
    """Returns the description of an API that a package has."""
    archive = next(archives.glob(f"{package}-*.whl"))
    data = zipfile.ZipFile(archive).read(path)
    return json.loads(gzip.decompress(data) if path.endswith(".gz") else data)


def misfits(value, schema, where):
    import jsonschema

    for error in jsonschema.Draft202012Validator(schema).iter_errors(value):
        yield f"{where}: {'/'.join(map(str, error.path))}: {error.message}"


def differences(message, one, other):
    if one != other:
        yield f"{message}: {', '.join(sorted(map(str, one ^ other)))}"


def ecs(settings, archives):
    """The files of Terraform parse and refer to what is there; the containers are such as ECS takes."""
    import hcl2

    folder = HERE / "ecs"
    example = folder / "terraform.tfvars.example"
    for file in [*folder.glob("*.tf"), example]:
        try:
            hcl2.loads(file.read_text())
        except Exception as error:  # the parser has errors of several kinds
            yield f"{file.name}: {error}"
    text = "\n".join(file.read_text() for file in sorted(folder.glob("*.tf")))
    variables = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.M | re.S)
    declared = {name for name, _ in variables}
    yield from differences("variables that are not used, or not declared", declared, set(re.findall(r"\bvar\.(\w+)", text)))
    needed = {name for name, body in variables if "default" not in body}
    given = set(re.findall(r"^(\w+)\s*=", example.read_text(), re.M))
    yield from differences(f"{example.name} differs from the variables without a default", given, needed)
    there = {(f"data.{kind}" if what == "data" else kind, name)
             for what, kind, name in re.findall(r'^(resource|data) "(\w+)" "(\w+)"', text, re.M)}
    asked = set(re.findall(r"(?<!\w)((?:data\.)?aws_\w+)\.(\w+)", text))
    yield from differences("resources that are not there", asked - there, set())
    calls = re.findall(r'templatefile\("\$\{path\.module\}/([\w.]+)", \{(.*?)\}\)', text, re.S)
    yield from differences("templates that are not used, or not there", {name for name, _ in calls}, {file.name for file in folder.glob("*.tftpl")})
    schema = aws_schema(api(archives, "botocore", "botocore/data/ecs/2014-11-13/service-2.json.gz")["shapes"], "ContainerDefinitions")
    for name, body in calls:
        if not (folder / name).exists():
            continue
        template = (folder / name).read_text()
        passed, wanted = set(re.findall(r"^\s*(\w+)\s*=", body, re.M)), set(re.findall(r"\$\{(\w+)\}", template))
        yield from differences(f"{name}: variables that are not passed, or not used", passed, wanted)
        containers = json.loads(re.sub(r"\$\{(\w+)\}", r"\1", template))
        yield from misfits(containers, schema, name)
        for container in containers:
            values = {entry["name"]: entry.get("value") for entry in container["environment"] + container["secrets"]}
            yield from differences(f"{name}: no settings", set(values) - settings, set())
            drain = int(values.get("DRAIN_SECONDS", 20))
            if container["stopTimeout"] <= drain + 10:
                yield f"{name}: stopTimeout is too short for DRAIN_SECONDS={drain}"


def aws_schema(shapes, name):
    """Returns a shape of AWS' API as a JSON schema, which allows no other fields."""
    one = shapes[name]
    if one["type"] == "structure":
        properties = {key: aws_schema(shapes, member["shape"]) for key, member in one["members"].items()}
        return {"type": "object", "properties": properties, "required": one.get("required", []), "additionalProperties": False}
    if one["type"] == "list":
        return {"type": "array", "items": aws_schema(shapes, one["member"]["shape"])}
    if one["type"] == "map":
        return {"type": "object", "additionalProperties": aws_schema(shapes, one["value"]["shape"])}
    if one["type"] == "string":
        return {"type": "string", **({"enum": one["enum"]} if "enum" in one else {})}
    return {"type": {"boolean": "boolean", "double": "number", "float": "number"}.get(one["type"], "integer")}


def cloud_run(settings, archives):
    """The files are such as Cloud Run's API takes."""
    import yaml

    schemas = api(archives, "google_api_python_client", "googleapiclient/discovery_cache/documents/run.v1.json")["schemas"]
    versions = {"Service": "serving.knative.dev/v1", "WorkerPool": "run.googleapis.com/v1"}
    for file in sorted((HERE / "cloud-run").glob("*.yaml")):
        document = yaml.safe_load(file.read_text())
        kind = document["kind"]
        if document["apiVersion"] != versions.get(kind):
            yield f"{file.name}: the kind {kind} has the apiVersion {versions.get(kind)}"
            continue
        yield from misfits(document, {"$ref": f"#/$defs/{kind}", "$defs": {name: google_schema(one) for name, one in schemas.items()}}, file.name)
        for container in document["spec"]["template"]["spec"]["containers"]:
            # Cloud Run sets PORT itself, and refuses it here.
            names = {entry["name"] for entry in container["env"]}
            yield from differences(f"{file.name}: no settings", names - (settings - {"PORT"}), set())


def google_schema(one):
    """Returns a schema of Google's API as a JSON schema, which allows no other fields."""
    if "$ref" in one:
        return {"$ref": f"#/$defs/{one['$ref']}"}
    if one.get("type") == "array":
        return {"type": "array", "items": google_schema(one["items"])}
    if one.get("type") == "object" and "additionalProperties" in one:
        return {"type": "object", "additionalProperties": google_schema(one["additionalProperties"])}
    if one.get("type") == "object":
        properties = {key: google_schema(value) for key, value in one.get("properties", {}).items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    return {} if one.get("type") == "any" else {"type": one["type"], **({"enum": one["enum"]} if "enum" in one else {})}
