"""A client written from the S3 contract alone: it submits tasks, polls and reads results.

    python s3_client.py http://127.0.0.1:8000 API_KEY

It uses only the routes and fields of the contract. The end-to-end tests run it against a running
system; it prints one line per check and exits with status 1 at the first check that fails.
"""

import sys
import time
import uuid

import requests

BASE, KEY = sys.argv[1].rstrip("/"), sys.argv[2]
HEADERS = {"X-API-Key": KEY}
METRICS = {
    "queue_wait_time": float,
    "processing_time": float,
    "total_time": float,
    "prompt_tokens": int,
    "completion_tokens": int,
    "tokens_per_second": float,
}


def check(what: str, holds: bool, seen: object = "") -> None:
    """Prints the check and exits with status 1 if it does not hold."""
    print(f"{'ok' if holds else 'NOT OK'}: {what}" + ("" if holds else f": {seen}"))
    if not holds:
        sys.exit(1)


def submit(prompt: str, **options: object) -> str:
    """Submits a prompt and returns its task id."""
    began = time.monotonic()
    reply = requests.post(
        f"{BASE}/generate", json={"prompt": prompt, **options}, headers=HEADERS, timeout=10
    )
    took = time.monotonic() - began
    body = reply.json()
    check("submit answers 202", reply.status_code == 202, reply.text)
    check("submit says queued", body["status"] == "queued", body)
    check("the task id is a UUID", str(uuid.UUID(body["task_id"])) == body["task_id"], body)
    check("submit has a message", bool(body["message"]), body)
    check("submit takes well under a second", took < 1.0, took)
    return body["task_id"]


def poll(task_id: str, seconds: float = 60.0) -> dict:
    """Polls the result until its status is `completed` or `error`, and returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        reply = requests.get(f"{BASE}/result/{task_id}", headers=HEADERS, timeout=10)
        body = reply.json()
        if body["status"] in ("completed", "error"):
            check("an ended task answers 200", reply.status_code == 200, reply.text)
            return body
        check("a pending task answers 202", reply.status_code == 202, reply.text)
        check("it is queued or processing", body["status"] in ("queued", "processing"), body)
        check("it names its task", body["task_id"] == task_id, body)
        check("it has a message", "message" in body, body)
        time.sleep(0.1)
    check("the task ends in time", False, task_id)
    return {}


def main() -> None:
    """Checks the whole contract once."""
    health = requests.get(f"{BASE}/health", timeout=10)
    check("health is open", health.status_code == 200, health.text)
    state = health.json()
    check("the service is healthy", state["status"] == "healthy", state)
    check("redis is connected", state["redis_connected"] is True, state)
    check("the model is loaded", state["model_loaded"] is True, state)
    check("health has a version", bool(state["version"]), state)
    check("/ is open", requests.get(f"{BASE}/", timeout=10).status_code == 200)
    check("/docs is open", requests.get(f"{BASE}/docs", timeout=10).status_code == 200)

    for headers in ({}, {"X-API-Key": "wrong"}):
        refused = requests.post(f"{BASE}/generate", json={"prompt": "hi"}, headers=headers, timeout=10)
        check("a bad key answers 401", refused.status_code == 401, refused.text)
        check("the body says 'Invalid API key'", "Invalid API key" in refused.text, refused.text)

    task_id = submit("How long are results kept?", max_tokens=64, temperature=0.7, top_p=0.9, user_id="u1")
    status = requests.get(f"{BASE}/status/{task_id}", headers=HEADERS, timeout=10).json()
    check(
        "the status is one of the contract's",
        status["status"] in ("queued", "processing", "completed", "failed"),
        status,
    )
    check("the status has its fields", {"status", "task_id", "message"} <= set(status), status)
    done = poll(task_id)
    check("the task completed", done["status"] == "completed", done)
    check("the result is text", isinstance(done["result"], str) and bool(done["result"]), done)
    for name, kind in METRICS.items():
        value = done["metrics"][name]
        check(f"{name} is there", isinstance(value, (int, kind)) and value >= 0, done["metrics"])
    metrics = done["metrics"]
    total = metrics["queue_wait_time"] + metrics["processing_time"]
    check("total is wait plus processing", abs(total - metrics["total_time"]) < 0.01, metrics)

    failed = poll(submit("far too long " * 20000))
    check("a task with a prompt beyond the context fails", failed["status"] == "error", failed)
    check("the failure names its task", "task_id" in failed, failed)
    check("the failure has a message", bool(failed["error_message"]), failed)
    check("the failure has a type", bool(failed["error_type"]), failed)

    unknown = requests.get(f"{BASE}/result/{uuid.uuid4()}", headers=HEADERS, timeout=10)
    check("an unknown task answers 404", unknown.status_code == 404, unknown.text)
    print("the S3 contract holds")


if __name__ == "__main__":
    main()
