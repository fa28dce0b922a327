"""anthropic (Python): messages."""

from anthropic import Anthropic, AuthenticationError, BadRequestError
from checks import BASE, KEY, MODEL, QUESTION, WEATHER, check, equal, expect, main, weather

client = Anthropic(base_url=BASE, api_key=KEY, max_retries=0, timeout=30)
TOOL = {"name": "get_weather", "description": WEATHER["description"], "input_schema": WEATHER["parameters"]}
USER = [{"role": "user", "content": QUESTION}]
ASK_WEATHER = [{"role": "user", "content": "What is the weather in Paris for two days?"}]


def ask(**options: object):
    """Asks the usual question at temperature 0, which anthropic 2 no longer has an argument for."""
    extra = {"temperature": 0, **options.pop("extra_body", {})}
    return client.messages.create(**{"model": MODEL, "max_tokens": 256, "messages": USER, "extra_body": extra, **options})


@check
def text():
    message = ask()
    expect(message.id.startswith("msg_"), message.id)
    equal((message.type, message.role, message.stop_reason, message.stop_sequence), ("message", "assistant", "end_turn", None))
    equal([block.type for block in message.content], ["text"])
    expect(message.content[0].text.strip())
    expect(message.usage.input_tokens > 0 and message.usage.output_tokens > 0, message.usage)


@check
def both_kinds_of_key():
    for other in (Anthropic(base_url=BASE, auth_token=KEY, api_key=None), client):
        expect(other.messages.create(model="claude-opus-4-6", max_tokens=16, messages=USER).content)
    try:
        Anthropic(base_url=BASE, api_key="sk-ant-wrong", max_retries=0).messages.create(model=MODEL, max_tokens=16, messages=USER)
    except AuthenticationError as error:
        equal((error.body["type"], error.body["error"]["type"]), ("error", "authentication_error"))
    else:
        raise AssertionError("accepted")


@check
def streamed_text_is_the_same():
    whole = ask()
    with client.messages.stream(model=MODEL, max_tokens=256, messages=USER, extra_body={"temperature": 0}) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    equal(text, whole.content[0].text)
    equal((final.stop_reason, final.usage.output_tokens), (whole.stop_reason, whole.usage.output_tokens))
    kinds = [event.type for event in ask(stream=True) if event.type != "ping"]
    shown = [kind for at, kind in enumerate(kinds) if kind not in kinds[:at]]
    equal(shown, ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"])


@check
def limit_and_stop_sequence():
    equal(ask(max_tokens=2).stop_reason, "max_tokens")
    word = ask().content[0].text.split()[2]
    cut = ask(stop_sequences=[word])
    equal((cut.stop_reason, cut.stop_sequence), ("stop_sequence", word))
    expect(word not in "".join(block.text for block in cut.content))


@check
def what_agents_send():
    message = ask(
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Hello!"}]},
            {"role": "system", "content": "Answer in English."},
            {"role": "user", "content": QUESTION},
        ],
        tools=[TOOL, {"type": "web_search_20250305", "name": "web_search"}],
        thinking={"type": "disabled"},
        metadata={"user_id": "u"},
        extra_headers={"anthropic-beta": "some-beta-2026-01-01"},
        extra_query={"beta": "true"},
    )
    expect(message.content, message)


@check
def a_call_and_its_result():
    first = ask(messages=ASK_WEATHER, tools=[TOOL], tool_choice={"type": "any"})
    equal(first.stop_reason, "tool_use")
    call = next(block for block in first.content if block.type == "tool_use")
    expect(call.id and call.name == "get_weather", call)
    weather(call.input)
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "21 °C"}]}]}
    second = ask(messages=[*ASK_WEATHER, {"role": "assistant", "content": first.content}, result], tools=[TOOL])
    expect(second.content, second)


@check
def a_call_is_streamed():
    with client.messages.stream(
        model=MODEL, max_tokens=256, messages=ASK_WEATHER, tools=[TOOL], tool_choice={"type": "tool", "name": "get_weather"}
    ) as stream:
        parts = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    expect(parts and final.stop_reason == "tool_use", final)
    weather(next(block for block in final.content if block.type == "tool_use").input)


@check
def a_trailing_assistant_message_is_continued():
    whole = ask().content[0].text
    start = whole[: len(whole) // 2].rstrip()
    rest = ask(messages=[*USER, {"role": "assistant", "content": start}]).content[0].text
    expect(rest and not rest.startswith(start), rest)


@check
def tokens_are_counted():
    counted = client.messages.count_tokens(model=MODEL, messages=USER)
    equal(counted.input_tokens, ask().usage.input_tokens)
    expect(client.messages.count_tokens(model=MODEL, messages=USER, tools=[TOOL]).input_tokens > counted.input_tokens)


@check
def a_wrong_request_is_refused():
    for wrong in ({"max_tokens": 0}, {"extra_body": {"temperature": 9}}, {"messages": []}):
        try:
            ask(**wrong)
        except BadRequestError as error:
            equal((error.body["type"], error.body["error"]["type"]), ("error", "invalid_request_error"))
        else:
            raise AssertionError(f"{wrong} was accepted")


main()
