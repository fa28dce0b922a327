/** Runs tasks: asks for answers, follows them through reloads and lost connections, stops them. */

import { signal } from "@preact/signals";
import { ConnectionError } from "../../api/errors";
import { sleepUntilOnline } from "../../api/follow";
import { cancel, followTask, result, status, submit } from "../../api/tasks";
import type { TaskEvent } from "../../api/types";
import { toast } from "../../ui/toast";
import * as life from "../model/answer";
import { attachmentsFor, callFor } from "../model/request";
import { answersOf, changeAnswer, isRunning } from "../model/tree";
import type { Answer, Conversation } from "../model/types";
import { conversation, save, update, updateOften } from "./conversations";
import { upload } from "./files";

/** Where an answer is: the ids of its conversation and of itself. */
interface Place {
  conversation: string;
  answer: string;
}

const running = new Map<string, AbortController>();

/** The answers whose connection is lost at the moment. */
export const disconnected = signal<ReadonlySet<string>>(new Set());
/** The answers that the user has stopped and the server has not ended yet. */
export const stopping = signal<ReadonlySet<string>>(new Set());

function withId(ids: ReadonlySet<string>, id: string, isIn: boolean): ReadonlySet<string> {
  const changed = new Set(ids);
  if (isIn) changed.add(id);
  else changed.delete(id);
  return changed;
}

function read(place: Place): Answer | null {
  const node = conversation(place.conversation)?.nodes[place.answer];
  return node?.kind === "answer" ? node : null;
}

function change(place: Place, by: (answer: Answer) => Answer, store = update): void {
  store(place.conversation, (before) => changeAnswer(before, place.answer, by));
}

/** Runs all answers of a conversation that have not ended: new ones, and those of before a reload. */
export function runAll(one: Conversation): void {
  for (const answer of answersOf(one)) {
    if (isRunning(answer) && !running.has(answer.id)) void run({ conversation: one.id, answer: answer.id });
  }
}

async function run(place: Place): Promise<void> {
  const controller = new AbortController();
  running.set(place.answer, controller);
  try {
    const taskId = read(place)?.taskId ?? (await patiently(place, controller.signal, ask));
    if (taskId !== null) await followToEnd(place, taskId, controller.signal);
  } catch (error) {
    const isStopped = controller.signal.aborted;
    change(place, (answer) =>
      isStopped ? { ...answer, phase: "cancelled" } : life.failed(answer, life.failureOf(error)),
    );
  } finally {
    running.delete(place.answer);
    disconnected.value = withId(disconnected.peek(), place.answer, false);
    stopping.value = withId(stopping.peek(), place.answer, false);
  }
}

/** How often a request is sent before a lost connection fails the answer: for 7.5 s. */
const TRIES = 5;

/**
 * Sends a request of an answer, and again while the server can't be reached. A page that is being closed loses its
 * connections too: it must not note that as the end of the answer. The request must be safe to repeat.
 */
async function patiently<T>(
  place: Place,
  signal: AbortSignal,
  request: (place: Place, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await request(place, signal);
    } catch (error) {
      if (!(error instanceof ConnectionError) || tries === TRIES) throw error;
      disconnected.value = withId(disconnected.peek(), place.answer, true);
      await sleepUntilOnline(500 * 2 ** (tries - 1), signal);
      signal.throwIfAborted();
      disconnected.value = withId(disconnected.peek(), place.answer, false);
    }
  }
}

/**
 * Uploads what the question has and submits the task. The request is stored before it is sent, and the answer's id is its
 * idempotency key, so a reload in between neither loses the task nor makes a second one.
 */
async function ask(place: Place, signal: AbortSignal): Promise<string | null> {
  const one = conversation(place.conversation);
  const answer = read(place);
  if (!one || !answer) return null;
  let call = answer.call;
  if (call === null) {
    call = callFor(one, answer, await upload(attachmentsFor(one, answer), signal));
    change(place, (before) => ({ ...before, call }));
    await save(place.conversation);
  }
  const submitted = await submit(call.path, call.body, `ui-${answer.id}`, signal);
  const sent = call;
  change(place, (before) => life.accepted(before, sent, submitted));
  if (stopping.peek().has(answer.id)) await cancel(submitted.task_id);
  return submitted.task_id;
}

/** Events are shown at this interval, because the page is drawn for each. */
const SHOW_MS = 40;

async function followToEnd(place: Place, taskId: string, signal: AbortSignal): Promise<void> {
  let waiting: TaskEvent[] = [];
  let timer: ReturnType<typeof setTimeout> | null = null;
  const show = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    const events = waiting;
    waiting = [];
    change(place, (answer) => life.applyEvents(answer, events), updateOften);
  };
  const stopLooking = lookWhileQueued(place, taskId, signal);
  try {
    const end = await followTask(taskId, {
      after: read(place)?.lastEvent ?? 0,
      signal,
      onConnection: (isConnected) => {
        disconnected.value = withId(disconnected.peek(), place.answer, !isConnected);
      },
      onEvents: (events) => {
        waiting.push(...events);
        timer ??= setTimeout(show, SHOW_MS);
      },
    });
    show();
    if (end === "nothing-left") {
      const outcome = await patiently(place, signal, () => result(taskId, signal));
      change(place, (answer) => life.ended(answer, outcome));
    }
  } finally {
    stopLooking();
    show();
  }
}

const LOOK_MS = 2000;

/** Reads position and ETA now and then while the task waits. */
function lookWhileQueued(place: Place, taskId: string, signal: AbortSignal): () => void {
  const timer = setInterval(async () => {
    if (read(place)?.phase !== "queued") return;
    const seen = await status(taskId, signal).catch(() => null);
    if (seen) change(place, (answer) => life.looked(answer, seen), updateOften);
  }, LOOK_MS);
  return () => clearInterval(timer);
}

/** Stops an answer: cancels its task, whose end then comes as an event. A request under way is cancelled once accepted. */
export async function stop(answer: Answer): Promise<void> {
  if (answer.call === null) {
    running.get(answer.id)?.abort();
    return;
  }
  stopping.value = withId(stopping.peek(), answer.id, true);
  if (answer.taskId === null) return;
  try {
    await cancel(answer.taskId);
  } catch (error) {
    stopping.value = withId(stopping.peek(), answer.id, false);
    toast({ kind: "error", text: `Not stopped: ${error instanceof Error ? error.message : String(error)}` });
  }
}

/** Stops all answers of a conversation that is deleted. */
export function stopAll(one: Conversation): void {
  for (const answer of answersOf(one).filter(isRunning)) void stop(answer);
}
