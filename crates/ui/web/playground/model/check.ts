/** Checks a question before it is sent, so that the composer can say what is missing. */

import type { FieldSchema, Skill } from "../../api/types";
import { readTools } from "./settings";
import type { Attachment, Conversation, Settings } from "./types";

/** Returns what keeps a question from being sent, for people, or `null`. */
export function checkQuestion(
  conversation: Conversation,
  skills: Skill[],
  text: string,
  attachments: Attachment[],
): string | null {
  for (const settings of conversation.columns) {
    const problem = checkFor(settings, skills, text, attachments);
    if (problem !== null) return problem;
  }
  return null;
}

function checkFor(settings: Settings, skills: Skill[], text: string, attachments: Attachment[]): string | null {
  const chosen = settings.skill;
  if (chosen === null) {
    const read = readTools(settings.tools);
    if ("problem" in read) return read.problem;
    return text.trim() === "" && attachments.length === 0 ? "Write a question." : null;
  }
  const skill = skills.find((one) => one.name === chosen.name);
  // The server knows better: it answers with the reason.
  if (!skill) return null;
  return checkSkill(skill, chosen.values, text, attachments);
}

function checkSkill(
  skill: Skill,
  values: Record<string, unknown>,
  text: string,
  attachments: Attachment[],
): string | null {
  const counts = [
    { name: "image", allowed: skill.images, has: attachments.filter((one) => one.kind === "image").length },
    { name: "video", allowed: skill.videos, has: attachments.filter((one) => one.kind === "video").length },
  ];
  for (const { name, allowed, has } of counts) {
    if (has < allowed.min) return `${skill.title}: attach ${amount(allowed.min, name)}.`;
    if (has > allowed.max)
      return allowed.max === 0
        ? `${skill.title} takes no ${name}.`
        : `${skill.title} takes at most ${amount(allowed.max, name)}.`;
  }
  const takesPrompt = "prompt" in skill.schema.properties;
  if (!takesPrompt && text.trim() !== "") return `${skill.title} takes no question.`;
  for (const name of skill.schema.required) {
    if (name === "prompt" ? text.trim() === "" : values[name] === undefined) {
      return name === "prompt" ? "Write a question." : `Fill in the skill's field "${name}".`;
    }
  }
  return null;
}

function amount(count: number, name: string): string {
  return count === 1 ? `one ${name}` : `${count} ${name}s`;
}

/** Reads what was typed into a skill's field. Returns a problem for people if it does not suit the schema. */
export function readField(schema: FieldSchema, typed: string): { value: unknown } | { problem: string } {
  if (typed === "") return { value: undefined };
  switch (schema.type) {
    case "string":
      return { value: typed };
    case "boolean":
      return { value: typed === "true" };
    case "integer":
    case "number":
      return readNumber(schema, typed);
    case "object":
      return readObject(typed);
  }
}

function readNumber({ type, minimum, maximum }: FieldSchema, typed: string): { value: unknown } | { problem: string } {
  const number = Number(typed);
  const isRight = type === "integer" ? Number.isInteger(number) : Number.isFinite(number);
  if (!isRight) return { problem: type === "integer" ? "This is a whole number." : "This is a number." };
  if (minimum !== undefined && number < minimum) return { problem: `At least ${minimum}.` };
  if (maximum !== undefined && number > maximum) return { problem: `At most ${maximum}.` };
  return { value: number };
}

function readObject(typed: string): { value: unknown } | { problem: string } {
  try {
    const value: unknown = JSON.parse(typed);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? { value } : { problem: 'This is a JSON object, such as {"name": ""}.' };
  } catch {
    return { problem: 'This is a JSON object, such as {"name": ""}.' };
  }
}
