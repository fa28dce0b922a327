// What a user does in the playground.

import assert from "node:assert/strict";
import { env, until } from "./browser.mjs";

export async function ask(page, text) {
  await page.getByRole("textbox", { name: "Question", exact: true }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

/** Returns the answers that are shown, the last one last. */
export function answers(page) {
  return page.getByRole("region", { name: /^Answer/ });
}

/** Waits until the last answer has ended, and returns its text. */
export async function lastAnswer(page, timeout = 30_000) {
  const answer = answers(page).last();
  await until("the answer to end", async () => (await answer.getAttribute("aria-busy")) === "false", timeout);
  return answer.locator(".markdown").innerText();
}

export async function openSettings(page) {
  const panel = page.getByRole("complementary", { name: "Settings" });
  if (!(await panel.isVisible())) await page.getByRole("button", { name: /^Settings/ }).click();
  return panel;
}

export async function chooseModel(page, model) {
  const panel = await openSettings(page);
  await panel.getByLabel("Model", { exact: true }).selectOption(model);
}

const ENDLESS = "Write on and on.";
/** By model: a seed whose answer does not end soon. The model has random weights, and may end with any token. */
const seeds = new Map();

async function seedOf(model) {
  for (let seed = 1; !seeds.has(model); seed += 1) {
    assert.ok(seed <= 20, `${model} ends its answers soon`);
    const body = { model, messages: [{ role: "user", content: ENDLESS }], seed, max_tokens: 300 };
    const headers = { "X-API-Key": env.key, "Content-Type": "application/json", Prefer: "wait=30" };
    const response = await fetch(new URL("/generate", env.url), { method: "POST", headers, body: JSON.stringify(body) });
    const { metrics } = await response.json();
    if (metrics?.completion_tokens === 300) seeds.set(model, seed);
  }
  return seeds.get(model);
}

/** Asks the slow model for a long answer and waits until some of it is there. */
export async function askSlowly(page, model, tokens = 2000) {
  const seed = await seedOf(model);
  await chooseModel(page, model);
  await page.getByLabel("Maximum of tokens").fill(String(tokens));
  await page.getByLabel("Seed").fill(String(seed));
  await ask(page, ENDLESS);
  await until("the first words", async () => (await answerLength(page)) > 20);
}

export async function answerLength(page) {
  const text = answers(page).last().locator(".markdown");
  return (await text.count()) === 0 ? 0 : (await text.innerText()).length;
}

/** Reads what the page has stored of its conversations. */
export function stored(page) {
  return page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const request = indexedDB.open("qwen-queue");
        request.onerror = () => reject(request.error);
        request.onsuccess = () => {
          const all = request.result.transaction("conversations").objectStore("conversations").getAll();
          all.onsuccess = () => {
            request.result.close();
            resolve(all.result);
          };
        };
      }),
  );
}
