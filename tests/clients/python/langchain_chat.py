"""langchain-openai: chat, structured output, tools, responses, embeddings."""

from typing import Literal

from checks import BASE, KEY, MODEL, QUESTION, check, embedding_model, equal, expect, main
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

ACCESS = {"base_url": f"{BASE}/v1", "api_key": KEY, "max_retries": 0, "timeout": 30}
chat = ChatOpenAI(model=MODEL, temperature=0, stream_usage=True, **ACCESS)


@tool
def get_weather(city: Literal["Paris", "Berlin"]) -> str:
    """Returns the weather of a city."""
    return f"21 degrees in {city}"


class Part(BaseModel):
    """A part of the system."""

    kind: Literal["gateway", "worker", "queue"] = Field(description="which part")
    ready: bool


@check
def text():
    answer = chat.invoke([SystemMessage("Be brief."), HumanMessage(QUESTION)])
    expect(answer.text and answer.response_metadata["finish_reason"] == "stop", answer)
    usage = answer.usage_metadata
    equal(usage["total_tokens"], usage["input_tokens"] + usage["output_tokens"])


@check
def stream():
    whole, chunks = chat.invoke(QUESTION), list(chat.stream(QUESTION))
    equal("".join(chunk.text for chunk in chunks), whole.text)
    collected = chunks[0]
    for chunk in chunks[1:]:
        collected += chunk
    equal(collected.usage_metadata["total_tokens"], whole.usage_metadata["total_tokens"])


@check
def tools():
    question = HumanMessage("What is the weather in Paris?")
    answer = chat.bind_tools([get_weather], tool_choice="required").invoke([question])
    expect(isinstance(answer, AIMessage) and answer.tool_calls and not answer.invalid_tool_calls, answer)
    result = get_weather.invoke(answer.tool_calls[0])
    expect(isinstance(result, ToolMessage), result)
    expect(chat.bind_tools([get_weather]).invoke([question, answer, result]), "an answer after the result")


@check
def structured_output():
    for method in ("json_schema", "function_calling"):
        expect(isinstance(chat.with_structured_output(Part, method=method).invoke(QUESTION), Part), method)


@check
def responses():
    answer = ChatOpenAI(model=MODEL, use_responses_api=True, **ACCESS).invoke(QUESTION)
    expect(answer.text and answer.id.startswith("resp_"), answer)


@check
async def at_once():
    answers = await chat.abatch([QUESTION] * 4)
    equal(len({answer.text for answer in answers}), 1)


@check
def embeddings():
    model = OpenAIEmbeddings(model=embedding_model(), check_embedding_ctx_length=False, **ACCESS)
    equal(len(model.embed_documents(["a", "b"])), 2)
    expect(len(model.embed_query("a")) > 1)


main()
