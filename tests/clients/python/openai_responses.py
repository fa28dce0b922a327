"""openai (Python): responses, in the foreground and in the background."""

from typing import Literal

from checks import BASE, KEY, MODEL, QUESTION, WEATHER, check, equal, expect, main, slow_model, until, weather
from openai import BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel

client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0, timeout=60)
TOOL = {"type": "function", "strict": True, **WEATHER}
ENDED = ("completed", "failed", "incomplete", "cancelled")


class Part(BaseModel):
    """The form of a parsed answer; every field is short, whatever the model writes."""

    kind: Literal["gateway", "worker", "queue"]
    ready: bool


def ask(**options: object):
    """Asks the usual question at temperature 0."""
    return client.responses.create(**{"model": MODEL, "input": QUESTION, "temperature": 0, **options})


def ended(response_id: str):
    """Polls a response until it has ended."""

    def poll():
        response = client.responses.retrieve(response_id)
        return response if response.status in ENDED else None

    return until(poll)


def text_of(events: list) -> str:
    """Returns the text of a stream's deltas."""
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def in_order(events: list, first: int = 0) -> None:
    """Checks that the events are numbered without a gap."""
    equal([event.sequence_number for event in events], list(range(first, first + len(events))))


@check
def text():
    response = ask()
    expect(response.id.startswith("resp_"), response.id)
    equal((response.object, response.status, response.error, response.incomplete_details), ("response", "completed", None, None))
    expect(response.output_text.strip())
    message = response.output[-1]
    equal((message.type, message.role, message.status), ("message", "assistant", "completed"))
    expect(message.id.startswith("msg_"), message.id)
    usage = response.usage
    equal(usage.total_tokens, usage.input_tokens + usage.output_tokens)
    expect(usage.input_tokens_details.cached_tokens <= usage.input_tokens, usage)
    expect(usage.output_tokens_details.reasoning_tokens <= usage.output_tokens, usage)
    equal(client.responses.retrieve(response.id).output_text, response.output_text)


@check
def events_in_their_order():
    events = list(ask(stream=True))
    in_order(events)
    kinds = [event.type for event in events]
    equal(kinds[0], "response.created")
    shown = [kind for at, kind in enumerate(kinds) if kind not in kinds[:at] and kind != "response.queued"]
    expected = (
        "created in_progress output_item.added content_part.added output_text.delta output_text.done content_part.done "
        "output_item.done completed"
    )
    equal(shown, [f"response.{kind}" for kind in expected.split()])
    final = events[-1].response
    equal(text_of(events), final.output_text)
    equal(final.output_text, ask().output_text)
    items = {event.item_id for event in events if event.type == "response.output_text.delta"}
    equal(items, {final.output[-1].id})


@check
def stream_helper():
    with client.responses.stream(model=MODEL, input=QUESTION, temperature=0) as stream:
        seen = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        equal(stream.get_final_response().output_text, seen)


@check
def parse_returns_the_form():
    response = client.responses.parse(model=MODEL, input=QUESTION, text_format=Part)
    expect(isinstance(response.output_parsed, Part), response.output)


@check
def instructions_and_every_form_of_input():
    response = ask(
        instructions="Be brief.",
        input=[
            {"role": "developer", "content": "Answer in English."},
            {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello!", "annotations": []}]},
            {"type": "message", "role": "user", "content": QUESTION},
        ],
        metadata={"a": "b"},
        store=True,
        parallel_tool_calls=True,
        truncation="disabled",
        prompt_cache_key="k",
        safety_identifier="s",
        include=["reasoning.encrypted_content"],
    )
    expect(response.output_text)
    equal((response.instructions, response.metadata), ("Be brief.", {"a": "b"}))


@check
def a_call_and_its_result():
    first = ask(input="What is the weather in Paris?", tools=[TOOL], tool_choice="required")
    call = next(item for item in first.output if item.type == "function_call")
    expect(call.call_id and call.name == "get_weather", call)
    weather(call.arguments)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": '{"celsius": 21}'}
    second = ask(input=[result], previous_response_id=first.id, tools=[TOOL])
    expect(second.output_text or second.output, second)
    equal(second.previous_response_id, first.id)


@check
def a_call_is_streamed():
    events = list(ask(input="What is the weather in Paris?", tools=[TOOL], tool_choice="required", stream=True))
    in_order(events)
    added = next(event for event in events if event.type == "response.output_item.added" and event.item.type == "function_call")
    done = next(event for event in events if event.type == "response.function_call_arguments.done")
    parts = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    equal(("".join(parts), added.item.id), (done.arguments, done.item_id))
    weather(done.arguments)
    equal(events[-1].response.status, "completed")


@check
def a_chain_remembers():
    first = ask(input="My name is Ada.")
    second = ask(input=QUESTION, previous_response_id=first.id)
    expect(second.usage.input_tokens > ask(input=QUESTION).usage.input_tokens, second.usage)
    texts = [part.text for item in client.responses.input_items.list(second.id, order="asc").data for part in item.content]
    expect(QUESTION in texts, texts)
    try:
        ask(previous_response_id="resp_00000000000000000000000000000000")
    except (BadRequestError, NotFoundError) as error:
        equal(error.param, "previous_response_id")
    else:
        raise AssertionError("accepted")


@check
def input_tokens_are_counted():
    counted = client.responses.input_tokens.count(model=MODEL, input=QUESTION)
    equal((counted.object, counted.input_tokens), ("response.input_tokens", ask().usage.input_tokens))


@check
def a_cut_answer_is_incomplete():
    response = ask(max_output_tokens=3)
    equal((response.status, response.incomplete_details.reason), ("incomplete", "max_output_tokens"))
    equal(list(ask(max_output_tokens=3, stream=True))[-1].type, "response.incomplete")


@check
def a_response_can_be_deleted_or_not_stored():
    stored, passing = ask(), ask(store=False)
    client.responses.delete(stored.id)
    for gone in (stored.id, passing.id):
        try:
            client.responses.retrieve(gone)
        except NotFoundError:
            continue
        raise AssertionError(f"{gone} is still there")


@check
def what_is_not_supported_is_named():
    for field, value in (("conversation", "conv_1"), ("prompt", {"id": "pmpt_1"}), ("tools", [{"type": "file_search", "vector_store_ids": ["v"]}])):
        try:
            ask(**{field: value})
        except BadRequestError as error:
            expect((error.param or "").startswith(field), error.param)
        else:
            raise AssertionError(f"{field} was accepted")


@check
def in_the_background():
    response = ask(background=True)
    expect(response.status in ("queued", "in_progress") and response.background, response.status)
    done = ended(response.id)
    equal((done.status, done.id, done.output_text), ("completed", response.id, ask().output_text))


@check
def a_background_stream_is_resumed():
    model = slow_model()
    options = {"model": model, "max_output_tokens": 600, "background": True, "stream": True}
    events = []
    with ask(**options) as stream:
        for event in stream:
            events.append(event)
            if len(text_of(events)) and len(events) > 8:
                break
    response_id = events[0].response.id
    last = events[-1].sequence_number
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=last))
    in_order([*events, *rest])
    final = rest[-1].response
    expect(final.status in ENDED, final.status)
    equal(text_of([*events, *rest]), final.output_text)
    for cut in (0, last, len(events) + len(rest) - 2):
        again = list(client.responses.retrieve(response_id, stream=True, starting_after=cut))
        in_order(again, cut + 1)
        equal([event.to_dict() for event in again], [event.to_dict() for event in [*events, *rest][cut + 1 :]])


@check
def a_background_response_is_cancelled():
    response = ask(model=slow_model(), max_output_tokens=2000, background=True)
    equal(client.responses.cancel(response.id).id, response.id)
    equal(ended(response.id).status, "cancelled")
    equal(client.responses.cancel(response.id).status, "cancelled")


main()
