"""openai (Python): `webhooks.unwrap` accepts what the server sends when a response or a batch has ended."""

import http.server
import json
import queue
import threading
import urllib.request

from checks import BASE, KEY, MODEL, QUESTION, check, equal, expect, main
from openai import InvalidWebhookSignatureError, OpenAI

client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0, timeout=30)
received: queue.Queue = queue.Queue()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps every POST as it came."""

    def do_POST(self):  # noqa: N802 - the name that http.server calls
        body = self.rfile.read(int(self.headers["content-length"]))
        received.put((body, dict(self.headers.items())))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
WEBHOOK = {"webhook_url": f"http://127.0.0.1:{server.server_address[1]}/hook"}


def secret() -> str:
    """Returns the secret that signs this key's webhooks."""
    request = urllib.request.Request(f"{BASE}/webhook-secret", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)["secret"]


def unwrapped(kind: str, object_id: str):
    """Returns the event of the next webhook after checking its signature, type and subject."""
    body, headers = received.get(timeout=30)
    event = client.webhooks.unwrap(body, headers, secret=secret())
    equal((event.object, event.type, event.data.id), ("event", kind, object_id))
    expect(event.id and event.created_at > 1_700_000_000, event)
    return body, headers


@check
def of_a_response():
    response = client.responses.create(model=MODEL, input=QUESTION, background=True, extra_body=WEBHOOK)
    body, headers = unwrapped("response.completed", response.id)
    try:
        client.webhooks.unwrap(body + b" ", headers, secret=secret())
    except InvalidWebhookSignatureError:
        return
    raise AssertionError("a changed body was accepted")


@check
def of_a_cut_response():
    response = client.responses.create(model=MODEL, input=QUESTION, background=True, max_output_tokens=2, extra_body=WEBHOOK)
    unwrapped("response.incomplete", response.id)


@check
def of_a_batch():
    request = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": request}
    file = client.files.create(file=("requests.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", extra_body=WEBHOOK
    )
    unwrapped("batch.completed", batch.id)


main()
