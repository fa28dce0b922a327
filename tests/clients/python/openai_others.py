"""openai (Python): models, embeddings and the older completions."""

import base64
import math
import struct

from checks import BASE, KEY, MODEL, check, embedding_model, equal, expect, main
from openai import BadRequestError, NotFoundError, OpenAI

client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0, timeout=30)
PROMPT = "A worker takes"


def complete(**options: object):
    """Continues the usual prompt at temperature 0."""
    return client.completions.create(**{"model": MODEL, "prompt": PROMPT, "temperature": 0, "max_tokens": 8, **options})


@check
def models():
    models = client.models.list().data
    model = next(model for model in models if model.id == MODEL)
    equal((model.object, bool(model.owned_by), model.created > 1_000_000_000), ("model", True, True))
    extra = model.model_extra
    expect(extra["context_length"] >= 256 and extra["max_model_len"] == extra["context_length"], extra)
    equal(client.models.retrieve(MODEL).id, MODEL)
    try:
        # With the alias `*`, every name stands for a model.
        equal(client.models.retrieve("no/such-model").id, "no/such-model")
    except NotFoundError as error:
        equal(error.code, "model_not_found")


@check
def completion():
    answer = complete()
    equal((answer.object, len(answer.choices)), ("text_completion", 1))
    expect(answer.choices[0].text and answer.choices[0].finish_reason in ("stop", "length"), answer)
    equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
    streamed = list(complete(stream=True, stream_options={"include_usage": True}))
    equal("".join(choice.text for chunk in streamed for choice in chunk.choices), answer.choices[0].text)
    equal(streamed[-1].usage.total_tokens, answer.usage.total_tokens)


@check
def completions_of_several_prompts():
    prompts = [PROMPT, "The queue keeps", "A result is"]
    answer = complete(prompt=prompts)
    equal([choice.index for choice in answer.choices], [0, 1, 2])
    equal([choice.text for choice in answer.choices], [complete(prompt=prompt).choices[0].text for prompt in prompts])
    equal([choice.index for choice in complete(prompt=prompts[:2], n=2, temperature=1, seed=1).choices], [0, 1, 2, 3])


@check
def completion_with_echo_and_logprobs():
    plain, echoed = complete(), complete(echo=True)
    equal(echoed.choices[0].text, PROMPT + plain.choices[0].text)
    logprobs = complete(logprobs=2).choices[0].logprobs
    sizes = {len(logprobs.tokens), len(logprobs.token_logprobs), len(logprobs.top_logprobs), len(logprobs.text_offset)}
    equal(sizes, {plain.usage.completion_tokens})
    expect(all(isinstance(top, dict) and 1 <= len(top) <= 3 for top in logprobs.top_logprobs), logprobs.top_logprobs)
    equal("".join(logprobs.tokens), plain.choices[0].text)
    equal(logprobs.text_offset, sorted(logprobs.text_offset))


@check
def completion_of_token_ids():
    answer = complete(prompt=[10, 11, 12, 13])
    equal((answer.usage.prompt_tokens, len(answer.choices)), (4, 1))
    equal(len(complete(prompt=[[10, 11], [12, 13, 14]]).choices), 2)


@check
def embeddings():
    texts = ["first", "second", "first"]
    model = embedding_model()
    answer = client.embeddings.create(model=model, input=texts)
    equal([entry.index for entry in answer.data], [0, 1, 2])
    vectors = [entry.embedding for entry in answer.data]
    equal(vectors[0], vectors[2])
    expect(vectors[0] != vectors[1] and len(vectors[0]) > 1, vectors)
    expect(all(abs(math.fsum(value * value for value in vector) - 1) < 1e-3 for vector in vectors))
    expect(answer.usage.prompt_tokens > 0 and answer.usage.total_tokens == answer.usage.prompt_tokens, answer.usage)
    encoded = client.embeddings.create(model=model, input=texts, encoding_format="base64").data[0].embedding
    equal([value for (value,) in struct.iter_unpack("<f", base64.b64decode(encoded))], vectors[0])
    floats = client.embeddings.create(model=model, input=texts, encoding_format="float")
    for decoded, sent in zip(vectors, (entry.embedding for entry in floats.data), strict=True):
        expect(len(decoded) == len(sent) and all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6) for a, b in zip(decoded, sent, strict=True)))


@check
def shorter_embeddings():
    model = embedding_model()
    whole = client.embeddings.create(model=model, input="text").data[0].embedding
    half = client.embeddings.create(model=model, input="text", dimensions=len(whole) // 2).data[0].embedding
    equal(len(half), len(whole) // 2)
    expect(abs(math.fsum(value * value for value in half) - 1) < 1e-3)
    for wrong in (0, len(whole) * 2):
        try:
            client.embeddings.create(model=model, input="text", dimensions=wrong)
        except BadRequestError as error:
            equal(error.param, "dimensions")
        else:
            raise AssertionError(f"{wrong} dimensions of {len(whole)} were accepted")


@check
def a_text_model_makes_no_embeddings():
    try:
        client.embeddings.create(model=MODEL, input="text")
    except BadRequestError as error:
        expect(error.param == "model" and MODEL in error.message, error)
    else:
        raise AssertionError("accepted")


main()
