/** The request of an answer as a command or a program, with a placeholder for the key. */

import type { Call } from "./types";

export function curl(call: Call, origin: string): string {
  const body = JSON.stringify(call.body, null, 2);
  return [
    `curl -s ${quoted(`${origin}${call.path}`)} \\`,
    `  -H "X-API-Key: $KEY" -H 'Content-Type: application/json' -H 'Prefer: wait=60' \\`,
    `  -d ${quoted(body)}`,
    "",
  ].join("\n");
}

/** Quotes for a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A program for Python's standard library: submits the task and waits for its result. */
export function python(call: Call, origin: string): string {
  return `import json
import os
import urllib.request

URL = ${pythonLiteral(origin)}
HEADERS = {"X-API-Key": os.environ["KEY"], "Content-Type": "application/json"}


def fetch(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(URL + path, data, HEADERS)) as reply:
        return reply.status, json.load(reply)


body = ${pythonLiteral(call.body)}
_, task = fetch(${pythonLiteral(call.path)}, body)
status, result = 202, task
while status == 202:
    status, result = fetch(f"/result/{task['task_id']}?wait=30")
print(result["result"] if result["status"] == "completed" else result)
`;
}

/** Writes a value of JSON as Python. */
export function pythonLiteral(value: unknown, indent = 0): string {
  const inner = " ".repeat(indent + 4);
  const outer = " ".repeat(indent);
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  // A string of JSON is one of Python, but for pairs of surrogates, which JSON.stringify does not escape.
  if (typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) {
    const items = value.map((item) => `${inner}${pythonLiteral(item, indent + 4)},\n`);
    return items.length > 0 ? `[\n${items.join("")}${outer}]` : "[]";
  }
  const entries = Object.entries(value).map(
    ([name, item]) => `${inner}${JSON.stringify(name)}: ${pythonLiteral(item, indent + 4)},\n`,
  );
  return entries.length > 0 ? `{\n${entries.join("")}${outer}}` : "{}";
}
