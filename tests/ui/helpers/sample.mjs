// Conversations as the playground exports them, with answers made by hand: what the small models of the tests can't write.

const SETTINGS = { model: null, system: "", priority: "normal", thinking: "default", tools: "", skill: null };
const METRICS = {
  queue_wait_time: 0.42,
  processing_time: 5.8,
  total_time: 6.22,
  prompt_tokens: 1240,
  completion_tokens: 200,
  tokens_per_second: 34.48,
  cached_tokens: 1184,
};
const AT = Date.UTC(2026, 0, 5, 12);

export const CODE = "REDIS_URL=redis://queue:6379 MODEL_NAME=Qwen/Qwen3-4B-GGUF:Q4_K_M qwen-queue worker";

const TEXT = `Run a **second worker** with the same \`REDIS_URL\`. It needs no port, because workers *pull* their tasks:

\`\`\`sh
${CODE}
\`\`\`

| Step | What happens |
|------|--------------|
| start | the model is loaded, the worker reports itself |
| claim | it takes as many tasks as fit its memory |
| stop | it is drained: running tasks end, then it exits |

1. The gateway sees it within two seconds.
2. Queue position and ETA follow from the measured times.`;

function answer(id, parent, fields) {
  return {
    kind: "answer",
    id,
    parent,
    column: 0,
    at: AT,
    settings: SETTINGS,
    phase: "completed",
    call: { path: "/generate", body: { messages: [] } },
    taskId: "0192f0c1-2345-7abc-8def-0123456789ab",
    lastEvent: 90,
    attempt: 1,
    text: "",
    reasoning: "",
    toolCalls: [],
    finishReason: "stop",
    metrics: METRICS,
    warnings: [],
    ...fields,
  };
}

function question(id, parent, text, attachments = []) {
  return { kind: "question", id, parent, at: AT, text, attachments };
}

function file(nodes, children, others = {}) {
  const conversation = {
    id: "sample",
    title: "",
    createdAt: AT,
    updatedAt: AT,
    nodes: Object.fromEntries(nodes.map((node) => [node.id, node])),
    children,
    picks: {},
    columns: [SETTINGS],
  };
  return JSON.stringify({ format: "qwen-queue.conversation", version: 1, conversation, files: {}, ...others });
}

/** Reasoning, code, a table, a call of a function, and a failure. */
export function conversation() {
  const nodes = [
    question("q1", null, "How do I add a worker on another machine?"),
    answer("a1", "q1", {
      text: TEXT,
      reasoning: "The user has one machine and wants a second worker.\nWorkers find their tasks in Redis, so both need the same address.",
      reasoningStartedAt: AT,
      reasoningEndedAt: AT + 4200,
    }),
    question("q2", "a1", "And how busy are the workers in Oslo?"),
    answer("a2", "q2", {
      toolCalls: [{ id: "call_1", name: "list_workers", arguments: { site: "Oslo", fields: ["running", "capacity"] } }],
    }),
    question("q3", "a2", "Sum up everything."),
    answer("a3", "q3", {
      phase: "failed",
      metrics: undefined,
      failure: { type: "queue_full", message: "The queue of 'demo' is full: 100 tasks wait.", retryAfter: 5 },
    }),
  ];
  return file(nodes, { root: ["q1"], "q1/0": ["a1"], a1: ["q2"], "q2/0": ["a2"], a2: ["q3"], "q3/0": ["a3"] });
}

/** Boxes of a skill on a picture, which is drawn by the page. */
export async function marked(page) {
  const url = await page.evaluate(drawShapes);
  const picture = { id: "shapes", kind: "image", name: "shapes.png", type: "image/png", size: 9000, width: 640, height: 400 };
  const items = [
    { label: "circle", box: [78, 96, 250, 268] },
    { label: "square", box: [318, 60, 458, 200] },
    { label: "triangle", box: [430, 214, 590, 352] },
  ];
  const structured = items.map(({ label, box }) => ({ bbox_2d: box, label, pixels: { box } }));
  const nodes = [
    question("q1", null, "", [picture]),
    answer("a1", "q1", {
      settings: { ...SETTINGS, skill: { name: "spatial", values: { objects: "circle, square, triangle" } } },
      text: JSON.stringify(structured),
      structured,
    }),
  ];
  return file(nodes, { root: ["q1"], "q1/0": ["a1"] }, { files: { shapes: url } });
}

function drawShapes() {
  const canvas = document.createElement("canvas");
  canvas.width = 640;
  canvas.height = 400;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#e9edf0";
  pen.fillRect(0, 0, 640, 400);
  pen.fillStyle = "#f0b429";
  pen.beginPath();
  pen.arc(164, 182, 82, 0, 7);
  pen.fill();
  pen.fillStyle = "#3a6ea5";
  pen.fillRect(322, 64, 132, 132);
  pen.fillStyle = "#4c9f70";
  pen.beginPath();
  pen.moveTo(510, 218);
  pen.lineTo(586, 348);
  pen.lineTo(434, 348);
  pen.fill();
  return canvas.toDataURL("image/png");
}

/** Imports a conversation through the page's own button. */
export async function importInto(page, text) {
  const buffer = Buffer.from(text);
  await page.getByLabel("File of a conversation").setInputFiles({ name: "sample.json", mimeType: "application/json", buffer });
}
