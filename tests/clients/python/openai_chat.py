"""openai (Python): chat completions."""

import asyncio
import json
from typing import Literal

from checks import BASE, KEY, MODEL, QUESTION, QUESTIONS, WEATHER, check, equal, expect, main, weather
from openai import AsyncOpenAI, AuthenticationError, BadRequestError, OpenAI
from pydantic import BaseModel

client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0, timeout=30)
USER = [{"role": "user", "content": QUESTION}]
TOOLS = [{"type": "function", "function": WEATHER}]
ASK_WEATHER = [{"role": "user", "content": "What is the weather in Paris for the next two days?"}]
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="


class Part(BaseModel):
    """The form of a parsed answer; every field is short, whatever the model writes."""

    kind: Literal["gateway", "worker", "queue"]
    number: Literal[1, 2, 3]
    ready: bool


def ask(**options: object):
    """Asks the usual question at temperature 0."""
    return client.chat.completions.create(**{"model": MODEL, "messages": USER, "temperature": 0, **options})


@check
def text():
    answer = ask()
    choice = answer.choices[0]
    expect(answer.id.startswith("chatcmpl-"), answer.id)
    equal((answer.object, choice.index, choice.message.role, choice.finish_reason), ("chat.completion", 0, "assistant", "stop"))
    expect(choice.message.content.strip())
    expect(choice.message.refusal is None and choice.message.tool_calls is None, choice.message)
    usage = answer.usage
    expect(usage.prompt_tokens > 0 and usage.completion_tokens > 0, usage)
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
    expect(usage.prompt_tokens_details.cached_tokens <= usage.prompt_tokens, usage)
    expect(usage.completion_tokens_details.reasoning_tokens <= usage.completion_tokens, usage)


@check
def other_models_are_aliases():
    for name in ("gpt-4o", "gpt-4o-mini"):
        expect(ask(model=name).choices[0].message.content)


@check
def headers():
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=USER)
    expect(raw.headers["x-request-id"])
    expect(float(raw.headers["openai-processing-ms"]) >= 0)
    equal(raw.parse().choices[0].finish_reason, "stop")


@check
def a_wrong_key_is_refused():
    try:
        OpenAI(base_url=f"{BASE}/v1", api_key="sk-wrong-wrong-wrong", max_retries=0).models.list()
    except AuthenticationError as error:
        equal((error.code, bool(error.message)), ("invalid_api_key", True))
    else:
        raise AssertionError("accepted")


@check
def a_wrong_value_is_refused_by_name():
    for field, value in (("temperature", 9), ("top_p", -1), ("n", 0), ("messages", "text"), ("stream", "yes")):
        try:
            ask(**{field: value})
        except BadRequestError as error:
            equal((error.param, error.type), (field, "invalid_request_error"))
        else:
            raise AssertionError(f"{field}={value!r} was accepted")


@check
def streamed_text_is_the_same():
    whole = ask()
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    equal(len({chunk.id for chunk in chunks}), 1)
    equal(chunks[0].choices[0].delta.role, "assistant")
    deltas = [choice for chunk in chunks for choice in chunk.choices]
    equal("".join(choice.delta.content or "" for choice in deltas), whole.choices[0].message.content)
    equal([choice.finish_reason for choice in deltas if choice.finish_reason is not None], ["stop"])
    equal(deltas[-1].finish_reason, "stop")
    equal(chunks[-1].choices, [])
    equal(chunks[-1].usage.total_tokens, whole.usage.total_tokens)
    expect(all(chunk.usage is None for chunk in chunks[:-1]))


@check
def a_stream_has_usage_only_on_request():
    expect(all(chunk.usage is None and chunk.choices for chunk in ask(stream=True)))


@check
def streams_of_several_choices_end_once_each():
    texts, ends = {0: "", 1: ""}, []
    for chunk in ask(stream=True, n=2, temperature=1, seed=3):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                ends.append(choice.index)
    equal(sorted(ends), [0, 1])
    expect(all(texts.values()), texts)


@check
def several_choices():
    answer = ask(n=2, temperature=1, seed=3)
    equal([choice.index for choice in answer.choices], [0, 1])
    expect(all(choice.message.content for choice in answer.choices))


@check
def a_limit_of_tokens_is_kept():
    for options in ({"max_tokens": 3}, {"max_completion_tokens": 3}, {"max_tokens": 9, "max_completion_tokens": 3}):
        answer = ask(**options)
        equal((answer.choices[0].finish_reason, answer.usage.completion_tokens), ("length", 3))
    expect(ask(max_tokens=10_000_000).choices[0].message.content)


@check
def stop_ends_before_the_text():
    word = ask().choices[0].message.content.split()[2]
    for stop in (word, [word]):
        answer = ask(stop=stop)
        expect(word not in answer.choices[0].message.content, answer.choices[0].message.content)
        equal(answer.choices[0].finish_reason, "stop")


@check
def a_seed_gives_the_same_answer():
    answers = [ask(temperature=1, seed=-7).choices[0].message.content for _ in range(2)]
    equal(answers[0], answers[1])


@check
def logprobs_are_the_same_when_streamed():
    whole = ask(logprobs=True, top_logprobs=2, max_tokens=8)
    entries = whole.choices[0].logprobs.content
    equal(len(entries), whole.usage.completion_tokens)
    equal(b"".join(bytes(entry.bytes) for entry in entries).decode(errors="replace"), whole.choices[0].message.content)
    expect(all(entry.logprob <= 0 and len(entry.top_logprobs) == 2 for entry in entries), entries)
    streamed = [
        entry
        for chunk in ask(logprobs=True, top_logprobs=2, max_tokens=8, stream=True)
        for choice in chunk.choices
        if choice.logprobs and choice.logprobs.content
        for entry in choice.logprobs.content
    ]
    equal([entry.token for entry in streamed], [entry.token for entry in entries])
    equal(ask(logprobs=True, max_tokens=2).choices[0].logprobs.content[0].top_logprobs, [])


@check
def messages_in_every_form():
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Hello"}], "name": "ann"},
            {"role": "assistant", "content": None},
            {"role": "assistant", "content": [], "reasoning_content": "Ann greets."},
            {"role": "developer", "content": "Be brief."},
            {"role": "system", "content": [{"type": "text", "text": "Answer in English."}]},
            {"role": "user", "content": QUESTION},
        ],
        temperature=0,
        user="ann",
        store=True,
        metadata={"a": "b"},
        service_tier="auto",
        presence_penalty=None,
        extra_body={"chat_template_kwargs": {"enable_thinking": False}, "unheard_of": 1},
    )
    expect(answer.choices[0].message.content)


@check
def a_call_and_its_result():
    answer = ask(messages=ASK_WEATHER, tools=TOOLS, tool_choice="required", parallel_tool_calls=False)
    choice = answer.choices[0]
    equal((choice.finish_reason, len(choice.message.tool_calls)), ("tool_calls", 1))
    call = choice.message.tool_calls[0]
    expect(call.id and call.type == "function" and call.function.name == "get_weather", call)
    weather(call.function.arguments)
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"celsius": 21}'}
    after = ask(messages=[*ASK_WEATHER, choice.message, result], tools=TOOLS)
    expect(after.choices[0].message.content or after.choices[0].message.tool_calls, after)


@check
def a_named_call():
    named = {"type": "function", "function": {"name": "get_weather"}}
    whole = ask(messages=ASK_WEATHER, tools=TOOLS, tool_choice=named)
    weather(whole.choices[0].message.tool_calls[0].function.arguments)
    finishes = [c.finish_reason for chunk in ask(messages=ASK_WEATHER, tools=TOOLS, tool_choice=named, stream=True) for c in chunk.choices]
    equal([finish for finish in finishes if finish], [whole.choices[0].finish_reason])


@check
def no_call_when_none_is_allowed():
    answer = ask(messages=ASK_WEATHER, tools=TOOLS, tool_choice="none")
    expect(answer.choices[0].message.content and not answer.choices[0].message.tool_calls, answer)


@check
def a_call_is_streamed():
    calls: dict[int, dict] = {}
    finishes = []
    for chunk in ask(messages=ASK_WEATHER, tools=TOOLS, tool_choice="required", stream=True):
        for choice in chunk.choices:
            finishes += [choice.finish_reason] if choice.finish_reason else []
            for delta in choice.delta.tool_calls or []:
                if delta.index not in calls:
                    expect(delta.id and delta.type == "function" and delta.function.name, delta)
                    calls[delta.index] = {"id": delta.id, "arguments": ""}
                expect(delta.id in (None, calls[delta.index]["id"]), delta)
                calls[delta.index]["arguments"] += delta.function.arguments or ""
    equal(finishes, ["tool_calls"])
    expect(list(calls) == list(range(len(calls))) and calls, calls)
    for call in calls.values():
        weather(call["arguments"])


@check
def a_call_that_is_cut_says_length():
    whole = ask(messages=ASK_WEATHER, tools=TOOLS, tool_choice="required", max_tokens=2)
    equal(whole.choices[0].finish_reason, "length")
    chunks = ask(messages=ASK_WEATHER, tools=TOOLS, tool_choice="required", max_tokens=2, stream=True)
    equal([c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason], ["length"])


@check
def parse_returns_the_form():
    answer = client.chat.completions.parse(model=MODEL, messages=USER, response_format=Part, temperature=0)
    expect(isinstance(answer.choices[0].message.parsed, Part), answer)


@check
def stream_helper_returns_the_form():
    with client.chat.completions.stream(model=MODEL, messages=USER, response_format=Part, temperature=0) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    expect({"chunk", "content.delta", "content.done"} <= kinds, kinds)
    expect(isinstance(final.choices[0].message.parsed, Part), final)


@check
def stream_helper_collects_calls():
    tools = [{"type": "function", "function": {**WEATHER, "strict": True}}]
    with client.chat.completions.stream(model=MODEL, messages=ASK_WEATHER, tools=tools, tool_choice="required") as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    expect({"tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds, kinds)
    weather(final.choices[0].message.tool_calls[0].function.arguments)


@check
def an_image_is_refused_by_a_text_model():
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PNG}}]
    try:
        ask(messages=[{"role": "user", "content": content}])
    except BadRequestError as error:
        expect(MODEL in error.message, error.message)
    else:
        raise AssertionError("accepted")


@check
def json_schema_is_kept():
    schema = Part.model_json_schema() | {"additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "part", "schema": schema, "strict": True}}
    whole = ask(response_format=form).choices[0].message.content
    Part.model_validate(json.loads(whole))
    streamed = "".join(c.delta.content or "" for chunk in ask(response_format=form, stream=True) for c in chunk.choices)
    equal(streamed, whole)


@check
async def several_at_once():
    async with AsyncOpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0, timeout=30) as several:
        calls = [
            several.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": question}], temperature=0)
            for question in QUESTIONS
        ]
        answers = await asyncio.gather(*calls)
    alone = [ask(messages=[{"role": "user", "content": question}]).choices[0].message.content for question in QUESTIONS]
    equal([answer.choices[0].message.content for answer in answers], alone)


main()
