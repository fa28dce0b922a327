"""Checks the files for clouds: ECS (Terraform) and Cloud Run.

Containers are compared with the descriptions of the APIs that receive them: that of AWS in botocore, and that of Google in
google-api-python-client. Both are read from the packages' archives.
"""

import gzip
import json
import re
import zipfile

from .basics import DEPLOY, read_setting_names, read_yaml, report_unchecked, require
from .tools import API_DESCRIPTIONS

FOLDER = DEPLOY / "cloud"


def check_clouds():
    """Checks the files of all clouds, and lists all their mistakes at once."""
    settings = read_setting_names()
    mistakes = [*find_ecs_mistakes(settings), *find_cloud_run_mistakes(settings)]
    require(not mistakes, "\n".join(mistakes))
    report_unchecked("terraform: types and arguments of AWS' resources (neither terraform nor its providers are in a package registry)")
    return "ECS, Cloud Run"


def read_api(package, path):
    """Returns the description of an API that a package contains."""
    archive = next(API_DESCRIPTIONS.glob(f"{package}-*.whl"))
    data = zipfile.ZipFile(archive).read(path)
    return json.loads(gzip.decompress(data) if path.endswith(".gz") else data)


def find_misfits(value, schema, where):
    """Yields what the schema does not allow in the value."""
    import jsonschema

    for error in jsonschema.Draft202012Validator(schema).iter_errors(value):
        yield f"{where}: {'/'.join(map(str, error.path))}: {error.message}"


def find_differences(message, one, other):
    """Yields one line with the elements that only one of two sets has, if there are any."""
    if one != other:
        yield f"{message}: {', '.join(sorted(map(str, one ^ other)))}"


def find_ecs_mistakes(settings):
    """Yields what is wrong in Terraform's files: syntax, references, and containers that the API of ECS refuses."""
    import hcl2

    folder = FOLDER / "ecs"
    example = folder / "terraform.tfvars.example"
    for file in [*folder.glob("*.tf"), example]:
        try:
            hcl2.loads(file.read_text())
        except Exception as error:  # the parser has errors of several kinds
            yield f"{file.name}: {error}"
    text = "\n".join(file.read_text() for file in sorted(folder.glob("*.tf")))
    variables = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.M | re.S)
    declared = {name for name, _ in variables}
    yield from find_differences("variables that are not used, or not declared", declared, set(re.findall(r"\bvar\.(\w+)", text)))
    needed = {name for name, body in variables if "default" not in body}
    given = set(re.findall(r"^(\w+)\s*=", example.read_text(), re.M))
    yield from find_differences(f"{example.name} differs from the variables without a default", given, needed)
    there = {(f"data.{kind}" if what == "data" else kind, name)
             for what, kind, name in re.findall(r'^(resource|data) "(\w+)" "(\w+)"', text, re.M)}
    asked = set(re.findall(r"(?<!\w)((?:data\.)?aws_\w+)\.(\w+)", text))
    yield from find_differences("resources that are not there", asked - there, set())
    calls = re.findall(r'templatefile\("\$\{path\.module\}/([\w.]+)", \{(.*?)\}\)', text, re.S)
    yield from find_differences("templates that are not used, or not there", {name for name, _ in calls}, {file.name for file in folder.glob("*.tftpl")})
    schema = convert_aws_shape(read_api("botocore", "botocore/data/ecs/2014-11-13/service-2.json.gz")["shapes"], "ContainerDefinitions")
    for name, body in calls:
        if not (folder / name).exists():
            continue
        template = (folder / name).read_text()
        passed, wanted = set(re.findall(r"^\s*(\w+)\s*=", body, re.M)), set(re.findall(r"\$\{(\w+)\}", template))
        yield from find_differences(f"{name}: variables that are not passed, or not used", passed, wanted)
        containers = json.loads(re.sub(r"\$\{(\w+)\}", r"\1", template))
        yield from find_misfits(containers, schema, name)
        for container in containers:
            values = {entry["name"]: entry.get("value") for entry in container["environment"] + container["secrets"]}
            yield from find_differences(f"{name}: no settings", set(values) - settings, set())
            drain = int(values.get("DRAIN_SECONDS", 20))
            if container["stopTimeout"] <= drain + 10:
                yield f"{name}: stopTimeout is too short for DRAIN_SECONDS={drain}"


def convert_aws_shape(shapes, name):
    """Returns a shape of AWS' API as a JSON schema, which allows no other fields."""
    one = shapes[name]
    if one["type"] == "structure":
        properties = {key: convert_aws_shape(shapes, member["shape"]) for key, member in one["members"].items()}
        return {"type": "object", "properties": properties, "required": one.get("required", []), "additionalProperties": False}
    if one["type"] == "list":
        return {"type": "array", "items": convert_aws_shape(shapes, one["member"]["shape"])}
    if one["type"] == "map":
        return {"type": "object", "additionalProperties": convert_aws_shape(shapes, one["value"]["shape"])}
    if one["type"] == "string":
        return {"type": "string", **({"enum": one["enum"]} if "enum" in one else {})}
    return {"type": {"boolean": "boolean", "double": "number", "float": "number"}.get(one["type"], "integer")}


def find_cloud_run_mistakes(settings):
    """Yields what the API of Cloud Run would refuse."""
    schemas = read_api("google_api_python_client", "googleapiclient/discovery_cache/documents/run.v1.json")["schemas"]
    versions = {"Service": "serving.knative.dev/v1", "WorkerPool": "run.googleapis.com/v1"}
    for file in sorted((FOLDER / "cloud-run").glob("*.yaml")):
        document = read_yaml(file)
        kind = document["kind"]
        if document["apiVersion"] != versions.get(kind):
            yield f"{file.name}: the kind {kind} has the apiVersion {versions.get(kind)}"
            continue
        yield from find_misfits(document, {"$ref": f"#/$defs/{kind}", "$defs": {name: convert_google_schema(one) for name, one in schemas.items()}}, file.name)
        for container in document["spec"]["template"]["spec"]["containers"]:
            # Cloud Run sets PORT itself, and refuses it here.
            names = {entry["name"] for entry in container["env"]}
            yield from find_differences(f"{file.name}: no settings", names - (settings - {"PORT"}), set())


def convert_google_schema(one):
    """Returns a schema of Google's API as a JSON schema, which allows no other fields."""
    if "$ref" in one:
        return {"$ref": f"#/$defs/{one['$ref']}"}
    if one.get("type") == "array":
        return {"type": "array", "items": convert_google_schema(one["items"])}
    if one.get("type") == "object" and "additionalProperties" in one:
        return {"type": "object", "additionalProperties": convert_google_schema(one["additionalProperties"])}
    if one.get("type") == "object":
        properties = {key: convert_google_schema(value) for key, value in one.get("properties", {}).items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    return {} if one.get("type") == "any" else {"type": one["type"], **({"enum": one["enum"]} if "enum" in one else {})}
