"""openai (Python): files and batches."""

import json

from checks import BASE, KEY, MODEL, QUESTIONS, check, equal, expect, main, slow_model, until
from openai import BadRequestError, NotFoundError, OpenAI

client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0, timeout=30)
CHAT = "/v1/chat/completions"


def upload(lines: list, purpose: str = "batch"):
    """Uploads lines of a batch: texts as they are, anything else as JSON."""
    body = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    return client.files.create(file=("requests.jsonl", body.encode()), purpose=purpose)


def line(custom_id: str, url: str = CHAT, **body: object) -> dict:
    """Returns one request of a batch."""
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {"model": MODEL, "temperature": 0, **body}}


def chat(custom_id: str, question: str, **more: object) -> dict:
    """Returns one chat request of a batch."""
    return line(custom_id, messages=[{"role": "user", "content": question}], **more)


def ended(batch_id: str):
    """Polls a batch until it has ended."""

    def poll():
        batch = client.batches.retrieve(batch_id)
        return batch if batch.status in ("completed", "failed", "expired", "cancelled") else None

    return until(poll, 60)


def outcomes(file_id: str | None) -> dict[str, dict]:
    """Returns the lines of an output or error file by their custom_id."""
    if file_id is None:
        return {}
    lines = [json.loads(text) for text in client.files.content(file_id).text.splitlines()]
    by_id = {entry["custom_id"]: entry for entry in lines}
    equal(len(by_id), len(lines))
    return by_id


@check
def a_file_comes_and_goes():
    content = "Grüße, 世界\n".encode() * 1000
    file = client.files.create(file=("notes.txt", content), purpose="user_data")
    equal((file.object, file.bytes, file.filename, file.purpose), ("file", len(content), "notes.txt", "user_data"))
    expect(file.id.startswith("file-"), file.id)
    equal(client.files.retrieve(file.id).id, file.id)
    equal(client.files.content(file.id).read(), content)
    expect(file.id in [other.id for other in client.files.list(purpose="user_data")])
    equal(client.files.delete(file.id).deleted, True)
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        try:
            call(file.id)
        except NotFoundError:
            continue
        raise AssertionError("the deleted file is still there")


@check
def files_are_listed_in_pages():
    ids = [client.files.create(file=(f"{number}.txt", b"x"), purpose="user_data").id for number in range(3)]
    page = client.files.list(limit=2, order="desc", purpose="user_data")
    equal([file.id for file in page.data], [ids[2], ids[1]])
    expect(page.has_next_page())
    equal(page.get_next_page().data[0].id, ids[0])
    for file_id in ids:
        client.files.delete(file_id)


@check
def a_batch_answers_every_line_once():
    lines = [chat(f"line-{number}", QUESTIONS[number % len(QUESTIONS)]) for number in range(20)]
    batch = client.batches.create(
        input_file_id=upload(lines).id, endpoint=CHAT, completion_window="24h", metadata={"run": "clients"}
    )
    expect(batch.id.startswith("batch_") and batch.status in ("validating", "in_progress"), batch.status)
    done = ended(batch.id)
    equal((done.status, done.metadata), ("completed", {"run": "clients"}))
    counts = done.request_counts
    equal((counts.total, counts.completed, counts.failed), (20, 20, 0))
    expect(done.created_at <= done.in_progress_at <= done.finalizing_at <= done.completed_at, done)
    answers = outcomes(done.output_file_id)
    equal(set(answers), {entry["custom_id"] for entry in lines})
    direct = client.chat.completions.create(model=MODEL, temperature=0, messages=[{"role": "user", "content": QUESTIONS[0]}])
    for custom_id, entry in answers.items():
        expect(entry["error"] is None and entry["response"]["status_code"] == 200 and entry["response"]["request_id"], entry)
        body = entry["response"]["body"]
        equal(body["usage"]["total_tokens"], body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"])
        text = body["choices"][0]["message"]["content"]
        expect(text, custom_id)
        if custom_id == "line-0":
            equal(text, direct.choices[0].message.content)
    expect(batch.id in [other.id for other in client.batches.list(limit=20).data])


@check
def a_batch_of_responses_and_of_completions():
    for url, body in (("/v1/responses", {"input": QUESTIONS[0]}), ("/v1/completions", {"prompt": "Hello", "max_tokens": 4})):
        batch = client.batches.create(
            input_file_id=upload([line("only", url, **body)]).id, endpoint=url, completion_window="24h"
        )
        done = ended(batch.id)
        equal((done.status, done.request_counts.completed), ("completed", 1))
        expect(outcomes(done.output_file_id)["only"]["response"]["body"]["id"])


@check
def a_faulty_request_goes_to_the_error_file():
    lines = [chat("good", QUESTIONS[0]), chat("bad", QUESTIONS[0], temperature=9)]
    batch = client.batches.create(input_file_id=upload(lines).id, endpoint=CHAT, completion_window="24h")
    done = ended(batch.id)
    equal((done.status, done.request_counts.completed, done.request_counts.failed), ("completed", 1, 1))
    equal(list(outcomes(done.output_file_id)), ["good"])
    bad = outcomes(done.error_file_id)["bad"]
    equal((bad["response"] or {}).get("status_code", 400), 400)
    expect("temperature" in json.dumps(bad), bad)


@check
def a_file_that_is_no_batch_fails_with_its_lines():
    for lines, number in (
        ([chat("a", "x"), "{not json"], 2),
        ([chat("a", "x"), chat("b", "x"), chat("a", "x")], 3),
        ([chat("a", "x"), line("b", "/v1/responses", input="x")], 2),
    ):
        batch = client.batches.create(input_file_id=upload(lines).id, endpoint=CHAT, completion_window="24h")
        done = ended(batch.id)
        equal(done.status, "failed")
        fault = done.errors.data[0]
        expect(fault.line == number and fault.message and fault.code, fault)


@check
def a_batch_is_cancelled():
    lines = [chat(f"line-{number}", "Count", max_tokens=200) for number in range(200)]
    for entry in lines:
        entry["body"]["model"] = slow_model()
    batch = client.batches.create(input_file_id=upload(lines).id, endpoint=CHAT, completion_window="24h")
    expect(client.batches.cancel(batch.id).status in ("cancelling", "cancelled"))
    done = ended(batch.id)
    equal(done.status, "cancelled")
    expect(done.request_counts.completed < 200, done.request_counts)


@check
def what_can_not_be_a_batch_is_refused():
    file = upload([chat("a", "x")])
    for options, param in (
        ({"endpoint": "/v1/images/generations"}, "endpoint"),
        ({"completion_window": "1s"}, "completion_window"),
        ({"input_file_id": "file-00000000000000000000000000000000"}, "input_file_id"),
    ):
        try:
            client.batches.create(**{"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **options})
        except (BadRequestError, NotFoundError) as error:
            equal(error.param, param)
        else:
            raise AssertionError(f"{options} was accepted")


main()
