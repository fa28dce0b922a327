// openai (Node.js): chat, streams, tools, parse helpers, responses, files and batches, embeddings, webhooks.
import { createServer } from "node:http";
import OpenAI, { toFile } from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { BASE, EMBEDDING_MODEL, KEY, MODEL, QUESTION, SLOW_MODEL, WEATHER, assert, check, main, needed, until, weather } from "./checks.mjs";

const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY, maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: QUESTION }];
const chat = (options) => client.chat.completions.create({ model: MODEL, messages, temperature: 0, ...options });
const respond = (options) => client.responses.create({ model: MODEL, input: QUESTION, temperature: 0, ...options });
const tools = [{ type: "function", function: WEATHER }];
const Part = z.object({ kind: z.enum(["gateway", "worker", "queue"]), ready: z.boolean() });

check("chat", async () => {
  const answer = await chat();
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.choices[0].message.content.trim());
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

check("a wrong key is refused", async () => {
  const stranger = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: "sk-wrong-wrong-wrong", maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});

check("a wrong value is refused by name", async () => {
  await assert.rejects(chat({ temperature: 9 }), (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
});

check("chat stream", async () => {
  let text = "";
  const finishes = [];
  let usage = null;
  for await (const chunk of await chat({ stream: true, stream_options: { include_usage: true } })) {
    text += chunk.choices[0]?.delta.content ?? "";
    if (chunk.choices[0]?.finish_reason) finishes.push(chunk.choices[0].finish_reason);
    usage = chunk.usage ?? usage;
  }
  const whole = await chat();
  assert.equal(text, whole.choices[0].message.content);
  assert.deepEqual(finishes, ["stop"]);
  assert.equal(usage.total_tokens, whole.usage.total_tokens);
});

check("an aborted stream leaves the server well", async () => {
  const stream = await chat({ stream: true });
  for await (const _ of stream) {
    stream.controller.abort();
    break;
  }
  assert.ok((await chat()).choices[0].message.content);
});

check("a call, and its result", async () => {
  const first = await chat({ tools, tool_choice: "required" });
  const { message, finish_reason } = first.choices[0];
  assert.equal(finish_reason, "tool_calls");
  weather(message.tool_calls[0].function.arguments);
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "21" };
  const second = await chat({ tools, messages: [...messages, message, result] });
  assert.ok(second.choices[0].message.content || second.choices[0].message.tool_calls);
});

check("stream helper with a call", async () => {
  const runner = client.chat.completions.stream({ model: MODEL, messages, tools, tool_choice: "required" });
  const final = await runner.finalChatCompletion();
  weather(final.choices[0].message.tool_calls[0].function.arguments);
  assert.equal(final.choices[0].finish_reason, "tool_calls");
});

check("chat parse helper", async () => {
  const answer = await client.chat.completions.parse({ model: MODEL, messages, response_format: zodResponseFormat(Part, "part") });
  Part.parse(answer.choices[0].message.parsed);
});

check("responses", async () => {
  const response = await respond();
  assert.equal(response.status, "completed");
  assert.ok(response.output_text.trim());
  assert.equal(response.usage.total_tokens, response.usage.input_tokens + response.usage.output_tokens);
});

check("responses parse helper", async () => {
  const response = await client.responses.parse({ model: MODEL, input: QUESTION, text: { format: zodTextFormat(Part, "part") } });
  Part.parse(response.output_parsed);
});

check("responses stream helper", async () => {
  const stream = client.responses.stream({ model: MODEL, input: QUESTION, temperature: 0 });
  let text = "";
  stream.on("response.output_text.delta", (event) => (text += event.delta));
  const final = await stream.finalResponse();
  assert.equal(final.output_text, text);
  assert.ok(text);
});

check("responses in the background", async () => {
  const { id, status } = await respond({ background: true });
  assert.ok(["queued", "in_progress"].includes(status), status);
  const done = await until(async () => {
    const now = await client.responses.retrieve(id);
    return ["queued", "in_progress"].includes(now.status) ? null : now;
  });
  assert.equal(done.status, "completed");
  assert.ok(done.output_text);
});

check("responses resumed and cancelled", async () => {
  const model = needed(SLOW_MODEL, "QWEN_SLOW_MODEL");
  const first = [];
  for await (const event of await respond({ model, max_output_tokens: 600, background: true, stream: true })) {
    first.push(event);
    if (first.length === 7) break;
  }
  const { id } = first[0].response;
  const rest = [];
  for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: first.at(-1).sequence_number })) rest.push(event);
  const all = [...first, ...rest];
  assert.deepEqual(all.map((event) => event.sequence_number), all.map((_, number) => number));
  const text = all.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("");
  assert.equal(text, rest.at(-1).response.output[0].content[0].text);
  const { id: long } = await respond({ model, max_output_tokens: 2000, background: true });
  await client.responses.cancel(long);
  assert.ok(await until(async () => (await client.responses.retrieve(long)).status === "cancelled"));
});

check("files and a batch", async () => {
  const lines = ["a", "b"].map((custom_id) => ({ custom_id, method: "POST", url: "/v1/chat/completions", body: { model: MODEL, messages } }));
  const content = Buffer.from(lines.map((line) => JSON.stringify(line)).join("\n"));
  const file = await client.files.create({ file: await toFile(content, "requests.jsonl"), purpose: "batch" });
  assert.equal(file.bytes, content.length);
  const { id } = await client.batches.create({ input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" });
  const done = await until(async () => {
    const batch = await client.batches.retrieve(id);
    return ["completed", "failed", "expired", "cancelled"].includes(batch.status) ? batch : null;
  });
  assert.equal(done.status, "completed");
  const output = await (await client.files.content(done.output_file_id)).text();
  const answers = output.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(answers.map((answer) => answer.custom_id).sort(), ["a", "b"]);
  for (const { response } of answers) assert.ok(response.status_code === 200 && response.body.choices[0].message.content);
});

check("embeddings", async () => {
  const model = needed(EMBEDDING_MODEL, "QWEN_EMBEDDING_MODEL");
  const decoded = (await client.embeddings.create({ model, input: "text" })).data[0].embedding;
  const sent = (await client.embeddings.create({ model, input: "text", encoding_format: "float" })).data[0].embedding;
  assert.equal(decoded.length, sent.length);
  decoded.forEach((value, at) => assert.ok(Math.abs(value - sent[at]) < 1e-5));
});

check("models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes(MODEL), ids.join());
});

check("webhooks.unwrap", async () => {
  const { secret } = await (await fetch(`${BASE}/webhook-secret`, { headers: { Authorization: `Bearer ${KEY}` } })).json();
  const received = [];
  const server = createServer((request, reply) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      received.push([body, request.headers]);
      reply.writeHead(204).end();
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  try {
    const webhook_url = `http://127.0.0.1:${server.address().port}/`;
    const { id } = await respond({ background: true, webhook_url });
    const [body, headers] = await until(() => received[0]);
    const event = await client.webhooks.unwrap(body, headers, secret);
    assert.deepEqual([event.type, event.data.id], ["response.completed", id]);
    await assert.rejects(client.webhooks.unwrap(`${body} `, headers, secret));
  } finally {
    server.close();
  }
});

await main();
