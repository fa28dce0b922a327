/** Writes the request that asks for an answer. */

import { readTools } from "./settings";
import { history } from "./tree";
import type { Answer, Attachment, Call, Conversation, Question, Settings } from "./types";

/** The ids that the server gave to files, by the ids of attachments. */
export type BlobIds = ReadonlyMap<string, string>;

/** Returns the attachments that the request for an answer has. */
export function attachmentsFor(conversation: Conversation, answer: Answer): Attachment[] {
  const question = questionOf(conversation, answer);
  if (!question) return [];
  if (answer.settings.skill) return question.attachments;
  return [...history(conversation, question, answer.column).map((turn) => turn.question), question].flatMap(
    (one) => one.attachments,
  );
}

/** Returns the request for an answer: to a skill's route if one is chosen, which takes no earlier turns. */
export function callFor(conversation: Conversation, answer: Answer, blobs: BlobIds): Call {
  const question = questionOf(conversation, answer);
  if (!question) throw new Error(`the question of answer ${answer.id} is gone`);
  const { skill } = answer.settings;
  return skill
    ? { path: `/api/v1/skills/${encodeURIComponent(skill.name)}`, body: skillBody(question, answer.settings, blobs) }
    : { path: "/generate", body: chatBody(conversation, question, answer, blobs) };
}

function questionOf(conversation: Conversation, answer: Answer): Question | null {
  const question = conversation.nodes[answer.parent];
  return question?.kind === "question" ? question : null;
}

function chatBody(
  conversation: Conversation,
  question: Question,
  answer: Answer,
  blobs: BlobIds,
): Record<string, unknown> {
  const { settings } = answer;
  const before = history(conversation, question, answer.column).filter((turn) => hasContent(turn.answer));
  const messages = [
    ...(settings.system.trim() ? [{ role: "system", content: settings.system }] : []),
    ...before.flatMap((turn) => [userMessage(turn.question, blobs), assistantMessage(turn.answer)]),
    userMessage(question, blobs),
  ];
  const read = readTools(settings.tools);
  return withoutMissing({
    messages,
    ...sampling(settings),
    enable_thinking: settings.thinking === "default" ? undefined : settings.thinking === "on",
    tools: "tools" in read && read.tools.length > 0 ? read.tools : undefined,
  });
}

/** A turn whose answer failed or was stopped before its first word is left out. */
function hasContent(answer: Answer): boolean {
  return answer.text !== "" || answer.toolCalls.length > 0;
}

function userMessage(question: Question, blobs: BlobIds): Record<string, unknown> {
  if (question.attachments.length === 0) return { role: "user", content: question.text };
  const files = question.attachments.map((attachment) => {
    const type = `${attachment.kind}_url`;
    return { type, [type]: { url: blobOf(attachment, blobs) } };
  });
  const text = question.text ? [{ type: "text", text: question.text }] : [];
  return { role: "user", content: [...files, ...text] };
}

function assistantMessage(answer: Answer): Record<string, unknown> {
  const calls = answer.toolCalls.filter((one) => one.name !== undefined);
  return withoutMissing({
    role: "assistant",
    content: answer.text,
    tool_calls: calls.length > 0 ? calls.map(toolCall) : undefined,
  });
}

function toolCall(one: Answer["toolCalls"][number]): Record<string, unknown> {
  return { id: one.id, type: "function", function: { name: one.name, arguments: JSON.stringify(one.arguments ?? {}) } };
}

function skillBody(question: Question, settings: Settings, blobs: BlobIds): Record<string, unknown> {
  const ids = (kind: Attachment["kind"]): string[] | undefined => {
    const found = question.attachments.filter((one) => one.kind === kind).map((one) => blobOf(one, blobs));
    return found.length > 0 ? found : undefined;
  };
  return withoutMissing({
    prompt: question.text.trim() ? question.text : undefined,
    images: ids("image"),
    videos: ids("video"),
    ...settings.skill?.values,
    ...sampling(settings),
  });
}

function sampling(settings: Settings): Record<string, unknown> {
  return {
    model: settings.model ?? undefined,
    max_tokens: settings.maxTokens,
    temperature: settings.temperature,
    top_p: settings.topP,
    top_k: settings.topK,
    seed: settings.seed,
    priority: settings.priority === "normal" ? undefined : settings.priority,
  };
}

function blobOf(attachment: Attachment, blobs: BlobIds): string {
  const id = blobs.get(attachment.id);
  if (id === undefined) throw new Error(`${attachment.name} was not uploaded`);
  return id;
}

function withoutMissing(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}
