// The Vercel AI SDK: its OpenAI provider (responses and chat) and its provider for compatible servers.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, embedMany, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { BASE, EMBEDDING_MODEL, KEY, MODEL, QUESTION, assert, check, main, needed } from "./checks.mjs";

const openai = createOpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY });
const compatible = createOpenAICompatible({ name: "qwen-queue", baseURL: `${BASE}/v1`, apiKey: KEY, includeUsage: true, supportsStructuredOutputs: true });
const models = { responses: openai(MODEL), chat: openai.chat(MODEL), compatible: compatible(MODEL) };
const asked = { prompt: QUESTION, temperature: 0, maxRetries: 0 };

const getWeather = tool({
  description: "Returns the weather of a city.",
  inputSchema: z.object({ city: z.enum(["Paris", "Berlin"]) }),
  execute: async ({ city }) => ({ city, celsius: 21 }),
});

for (const [name, model] of Object.entries(models)) {
  check(`${name}: text`, async () => {
    const { text, finishReason, usage } = await generateText({ model, ...asked });
    assert.ok(text.trim());
    assert.equal(finishReason, "stop");
    assert.equal(usage.totalTokens, usage.inputTokens + usage.outputTokens);
  });

  check(`${name}: stream`, async () => {
    const result = streamText({ model, ...asked, onError: () => {} });
    let text = "";
    for await (const delta of result.textStream) text += delta;
    assert.equal(text, (await generateText({ model, ...asked })).text);
    assert.equal(await result.finishReason, "stop");
    const usage = await result.usage;
    assert.ok(usage.outputTokens > 0 && usage.inputTokens > 0, JSON.stringify(usage));
  });

  check(`${name}: a call, its result, a second step`, async () => {
    const { steps } = await generateText({
      model,
      ...asked,
      tools: { getWeather },
      toolChoice: "required",
      stopWhen: stepCountIs(2),
    });
    assert.ok(["Paris", "Berlin"].includes(steps[0].toolCalls[0].input.city), JSON.stringify(steps[0].toolCalls));
    assert.equal(steps[0].toolResults[0].output.celsius, 21);
    assert.equal(steps[0].finishReason, "tool-calls");
    assert.equal(steps.length, 2);
  });

  check(`${name}: a streamed call`, async () => {
    const result = streamText({ model, ...asked, tools: { getWeather }, toolChoice: "required", onError: () => {} });
    const kinds = [];
    for await (const part of result.fullStream) {
      assert.notEqual(part.type, "error", JSON.stringify(part));
      kinds.push(part.type);
    }
    for (const kind of ["tool-input-start", "tool-input-delta", "tool-call", "tool-result", "finish"]) assert.ok(kinds.includes(kind), kinds.join());
  });

  check(`${name}: an object of a schema`, async () => {
    const schema = z.object({ kind: z.enum(["gateway", "worker", "queue"]), ready: z.boolean() });
    const { output } = await generateText({ model, ...asked, output: Output.object({ schema }) });
    schema.parse(output);
  });
}

check("embeddings", async () => {
  const model = openai.embedding(needed(EMBEDDING_MODEL, "QWEN_EMBEDDING_MODEL"));
  const { embeddings } = await embedMany({ model, values: ["a", "b"], maxRetries: 0 });
  assert.ok(embeddings.length === 2 && embeddings[0].length > 1);
});

await main();
