"""litellm: chat, responses, embeddings and Anthropic's messages."""

import litellm
from checks import BASE, KEY, MODEL, QUESTION, WEATHER, check, embedding_model, equal, expect, main, weather

litellm.telemetry = False
litellm.num_retries = 0
ACCESS = {"api_base": f"{BASE}/v1", "api_key": KEY, "timeout": 30}
USER = [{"role": "user", "content": QUESTION}]


def ask(provider: str = "openai", **options: object):
    """Asks the usual question at temperature 0."""
    return litellm.completion(**{"model": f"{provider}/{MODEL}", "messages": USER, "temperature": 0, **ACCESS, **options})


@check
def text_by_each_provider():
    texts = set()
    for provider in ("openai", "hosted_vllm"):
        answer = ask(provider)
        equal(answer.choices[0].finish_reason, "stop")
        equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        texts.add(answer.choices[0].message.content)
    expect(len(texts) == 1 and all(texts), texts)


@check
def stream():
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    rebuilt = litellm.stream_chunk_builder(chunks, messages=USER)
    equal(rebuilt.choices[0].message.content, ask().choices[0].message.content)
    equal(rebuilt.choices[0].finish_reason, "stop")


@check
def calls():
    tools = [{"type": "function", "function": WEATHER}]
    message = ask(tools=tools, tool_choice="required").choices[0].message
    weather(message.tool_calls[0].function.arguments)


@check
def responses():
    response = litellm.responses(model=f"openai/{MODEL}", input=QUESTION, **ACCESS)
    equal(response.status, "completed")
    expect(any(part.text for item in response.output if item.type == "message" for part in item.content), response)


@check
def embeddings():
    answer = litellm.embedding(model=f"openai/{embedding_model()}", input=["a", "b"], **ACCESS)
    equal(len(answer.data), 2)
    expect(all(isinstance(value, float) for value in answer.data[0]["embedding"]))


@check
def messages_of_anthropic():
    access = {"api_base": BASE, "api_key": KEY, "timeout": 30}
    answer = litellm.completion(model=f"anthropic/{MODEL}", messages=USER, max_tokens=64, **access)
    expect(answer.choices[0].message.content and answer.usage.total_tokens > 0, answer)


@check
def a_wrong_key_is_an_authentication_error():
    try:
        ask(api_key="sk-wrong-wrong-wrong")
    except litellm.AuthenticationError:
        return
    raise AssertionError("accepted")


main()
