"""llama-index: OpenAILike for chat, completion and tools, and embeddings."""

from typing import Literal

from checks import BASE, KEY, MODEL, QUESTION, check, embedding_model, equal, expect, main, weather
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike

ACCESS = {"api_base": f"{BASE}/v1", "api_key": KEY, "max_retries": 0, "timeout": 30}
chat = OpenAILike(model=MODEL, is_chat_model=True, is_function_calling_model=True, context_window=2048, temperature=0, **ACCESS)
USER = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content=QUESTION)]


@check
def text():
    answer = chat.chat(USER)
    expect(answer.message.content and answer.raw.usage.total_tokens > 0, answer)


@check
def stream():
    equal("".join(chunk.delta or "" for chunk in chat.stream_chat(USER)), chat.chat(USER).message.content)


@check
def completion():
    base = OpenAILike(model=MODEL, is_chat_model=False, context_window=2048, max_tokens=16, **ACCESS)
    expect(base.complete("A worker takes").text)


@check
def completion_with_all_that_the_context_holds():
    expect(OpenAILike(model=MODEL, is_chat_model=False, context_window=100_000, **ACCESS).complete("A worker takes").text)


@check
def tools():
    def get_weather(city: Literal["Paris", "Berlin"], days: Literal[1, 2, 3]) -> str:
        """Returns the weather."""
        return f"21 degrees in {city} for {days} days"

    tool = FunctionTool.from_defaults(get_weather)
    answer = chat.chat_with_tools([tool], user_msg="What is the weather?", tool_required=True)
    calls = chat.get_tool_calls_from_response(answer)
    weather(calls[0].tool_kwargs)


@check
def embeddings():
    model = OpenAILikeEmbedding(model_name=embedding_model(), **ACCESS)
    vectors = model.get_text_embedding_batch(["a", "b"])
    expect(len(vectors) == 2 and len(vectors[0]) > 1, vectors)


main()
