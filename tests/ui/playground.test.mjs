// Conversations: ask, stream, stop, go on after a reload and a lost connection, branch, search, delete.

import assert from "node:assert/strict";
import { test } from "node:test";
import { env, until, useBrowser, withPage } from "./helpers/browser.mjs";
import { front } from "./helpers/front.mjs";
import { answerLength, answers, ask, askSlowly, lastAnswer, openSettings, stored } from "./helpers/playground.mjs";

useBrowser();

test("asks for a key, refuses a wrong one, and keeps the right one for the tab", async () => {
  await withPage({ key: "", allowed: /401/ }, async (page) => {
    const field = page.getByRole("textbox", { name: "API key" });
    await field.fill("sk-wrong-0123456789");
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByText("The server does not accept this key").waitFor();
    await field.fill(env.key);
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByRole("heading", { name: "Ask a question" }).waitFor();
    assert.equal(await page.evaluate(() => localStorage.length), 0, "the device remembers nothing");
    await page.reload();
    await page.getByRole("heading", { name: "Ask a question" }).waitFor();
    await page.getByRole("button", { name: "API key" }).click();
    await page.getByRole("menuitem", { name: "Forget the key" }).click();
    await field.waitFor();
  });
});

test("remembers a key on the device if told so, and never puts it into an address", async () => {
  await withPage({ key: "" }, async (page, context) => {
    const urls = [];
    context.on("request", (request) => urls.push(request.url()));
    await page.getByRole("textbox", { name: "API key" }).fill(env.key);
    await page.getByLabel("Remember on this device").check();
    await page.getByRole("button", { name: "Continue" }).click();
    await ask(page, "What is qwen-queue?");
    await lastAnswer(page);
    const other = await context.newPage();
    await other.goto(env.url);
    await other.getByRole("heading", { name: "Ask a question" }).waitFor();
    assert.ok(urls.length > 3);
    assert.ok(urls.every((url) => !url.includes(env.key)));
  });
});

test("streams an answer of the demo model and shows what it took", async () => {
  await withPage({}, async (page) => {
    await ask(page, "What is qwen-queue?");
    const text = await lastAnswer(page);
    assert.match(text, /queue/i);
    const answer = answers(page).last();
    assert.match(await answer.locator("dl").innerText(), / wait\n.* run\n.* tokens in\n.* out\n.*\d tokens\/s/s);
    assert.match(page.url(), /#\/chat\/[0-9a-f]+$/);
    assert.equal(await page.getByRole("complementary").getByRole("link", { name: /What is qwen-queue/ }).count(), 1);
  });
});

test("keeps the history of a conversation in the next request", async () => {
  await withPage({}, async (page) => {
    await ask(page, "What is qwen-queue?");
    await lastAnswer(page);
    const request = page.waitForRequest((one) => one.url().endsWith("/generate"));
    await ask(page, "How do I add a worker?");
    const { messages } = (await request).postDataJSON();
    assert.deepEqual(messages.map((message) => message.role), ["user", "assistant", "user"]);
    assert.match(await lastAnswer(page), /worker/i);
    assert.equal(await answers(page).count(), 2);
  });
});

test("stops an answer, whose text stays", async () => {
  await withPage({}, async (page) => {
    await askSlowly(page, env.slowModel);
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText("Stopped.", { exact: true }).waitFor();
    assert.ok((await answerLength(page)) > 20);
    const [{ nodes }] = await until("the store to have it", async () => {
      const all = await stored(page);
      return Object.values(all[0].nodes).some((node) => node.phase === "cancelled") && all;
    });
    const { taskId } = Object.values(nodes).find((node) => node.kind === "answer");
    const status = await page.evaluate(
      async ([id, key]) => (await fetch(`/status/${id}`, { headers: { "X-API-Key": key } })).json(),
      [taskId, env.key],
    );
    assert.equal(status.status, "cancelled");
  });
});

test("goes on where it was when the page is loaded again in mid-stream", async () => {
  await withPage({}, async (page) => {
    await askSlowly(page, env.slowModel, 900);
    const submits = [];
    const resumed = page.waitForRequest((one) => one.url().includes("/events/") && one.headers()["last-event-id"]);
    page.on("request", (one) => one.method() === "POST" && submits.push(one.url()));
    await page.reload();
    assert.ok(Number((await resumed).headers()["last-event-id"]) > 1);
    await lastAnswer(page, 60_000);
    assert.deepEqual(submits, [], "nothing is asked again");
    await assertWhole(page);
  });
});

test("makes one task of a question, even if the page is loaded again before the server's reply came", async () => {
  await withPage({}, async (page) => {
    const first = new Promise((resolve) => {
      page.route("**/generate", async (route) => resolve((await route.fetch()).json()));
    });
    await ask(page, "What is qwen-queue?");
    const { task_id } = await first;
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await page.reload();
    assert.match(await lastAnswer(page), /queue/i);
    const [{ nodes }] = await stored(page);
    assert.equal(Object.values(nodes).find((node) => node.kind === "answer").taskId, task_id);
  });
});

test("sends a question again while the server can't be reached", async () => {
  const between = await front(env.url);
  try {
    await withPage({ url: between.url, allowed: /ERR_|Failed to load/ }, async (page) => {
      await page.getByRole("heading", { name: "Ask a question" }).waitFor();
      between.cut();
      await ask(page, "What is qwen-queue?");
      await page.getByText("No connection; trying again").waitFor();
      between.restore();
      assert.match(await lastAnswer(page), /queue/i);
    });
  } finally {
    await between.close();
  }
});

test("sends a question again when the reply was cut off, and makes one task of it", async () => {
  const between = await front(env.url);
  try {
    await withPage({ url: between.url, allowed: /ERR_|Failed to load/ }, async (page) => {
      await page.getByRole("heading", { name: "Ask a question" }).waitFor();
      const replies = [];
      page.on("response", async (one) => {
        if (one.url().endsWith("/generate")) replies.push((await one.json().catch(() => ({}))).task_id);
      });
      between.cutReplyAt('"task_id"');
      await ask(page, "What is qwen-queue?");
      assert.match(await lastAnswer(page), /queue/i);
      assert.ok(between.hasCut());
      assert.equal(replies.length, 2, "the request was sent twice");
    });
  } finally {
    await between.close();
  }
});

test("goes on after the connection was lost", async () => {
  const between = await front(env.url);
  try {
    await withPage({ url: between.url, allowed: /ERR_|Failed to load/ }, async (page) => {
      await askSlowly(page, env.slowModel, 900);
      between.cut();
      await page.getByText("Connection lost").waitFor();
      await new Promise((resolve) => setTimeout(resolve, 1500));
      between.restore();
      await lastAnswer(page, 60_000);
      await assertWhole(page);
    });
  } finally {
    await between.close();
  }
});

/** The text that was put together from events is the result that the server has. */
async function assertWhole(page) {
  const [{ nodes }] = await until("the end to be stored", async () => {
    const all = await stored(page);
    return Object.values(all[0].nodes).some((node) => node.phase === "completed") && all;
  });
  const { taskId, text, lastEvent } = Object.values(nodes).find((node) => node.kind === "answer");
  const result = await page.evaluate(
    async ([id, key]) => (await fetch(`/result/${id}`, { headers: { "X-API-Key": key } })).json(),
    [taskId, env.key],
  );
  assert.equal(text, result.result);
  assert.ok(lastEvent > 3);
}

test("edits a question into a branch, retries an answer, and switches between them", async () => {
  await withPage({}, async (page) => {
    await ask(page, "What is qwen-queue?");
    const first = await lastAnswer(page);
    await page.getByRole("button", { name: "Edit the question" }).click();
    await page.getByLabel("Edited question").fill("How do I add a worker?");
    await page.getByRole("button", { name: "Ask again" }).click();
    await page.getByText("2/2").waitFor();
    assert.match(await lastAnswer(page), /worker/);
    await page.getByRole("button", { name: "Previous version of the question" }).click();
    assert.equal(await lastAnswer(page), first);
    await page.getByRole("button", { name: "Retry as another version" }).click();
    await page.getByRole("group", { name: "Versions of the answer" }).getByText("2/2").waitFor();
    await page.reload();
    await page.getByRole("group", { name: "Versions of the answer" }).getByText("2/2").waitFor();
    await page.getByRole("group", { name: "Versions of the question" }).getByText("1/2").waitFor();
  });
});

test("finds conversations by their text, renames one, and brings a deleted one back", async () => {
  await withPage({}, async (page) => {
    await ask(page, "What is qwen-queue?");
    await lastAnswer(page);
    await page.keyboard.press("Control+Shift+O");
    await page.getByRole("heading", { name: "Ask a question" }).waitFor();
    await ask(page, "How do I add a worker?");
    await lastAnswer(page);
    const list = page.getByRole("navigation", { name: "Conversations" });
    await page.keyboard.press("Control+K");
    await page.keyboard.type("REDIS_URL");
    await until("one to be found", async () => (await list.getByRole("link").count()) === 1);
    assert.match(await list.getByRole("link").innerText(), /How do I add a worker/);
    await page.getByRole("searchbox").fill("");
    await list.getByRole("link", { name: /What is/ }).hover();
    await list.getByRole("button", { name: /Actions for What is/ }).click();
    await page.getByRole("menuitem", { name: "Rename" }).click();
    await page.getByLabel("Title of the conversation").fill("Basics");
    await page.keyboard.press("Enter");
    await list.getByRole("link", { name: /Basics/ }).hover();
    await list.getByRole("button", { name: "Actions for Basics" }).click();
    await page.getByRole("menuitem", { name: "Delete" }).click();
    await until("it to be gone", async () => (await list.getByRole("link").count()) === 1);
    await page.getByRole("button", { name: "Undo" }).click();
    await list.getByRole("link", { name: /Basics/ }).waitFor();
    await until("it to be stored", async () => (await stored(page)).length === 2);
  });
});

test("answers one question side by side with two settings", async () => {
  await withPage({}, async (page) => {
    await page.getByRole("button", { name: "Compare side by side" }).click();
    const panel = await openSettings(page);
    await panel.getByRole("radio", { name: "Side B" }).check({ force: true });
    await panel.getByLabel("Maximum of tokens").fill("4");
    await ask(page, "What is qwen-queue?");
    const [a, b] = [answers(page).nth(0), answers(page).nth(1)];
    for (const answer of [a, b]) await until("both to end", async () => (await answer.getAttribute("aria-busy")) === "false");
    assert.ok((await a.locator(".markdown").innerText()).length > (await b.locator(".markdown").innerText()).length);
    await b.getByText("cut off").waitFor();
    const [left, right] = [await a.boundingBox(), await b.boundingBox()];
    assert.ok(right.x > left.x + left.width - 1 && Math.abs(left.y - right.y) < 2, "they stand side by side");
  });
});

test("sends the settings that were set, and none that were not", async () => {
  await withPage({}, async (page) => {
    const panel = await openSettings(page);
    await panel.getByLabel("System prompt").fill("Be brief.");
    await panel.getByLabel("Temperature").fill("0");
    await panel.getByLabel("Seed").fill("7");
    await panel.getByLabel("Priority").selectOption("low");
    await panel.getByRole("radio", { name: "Off" }).check({ force: true });
    const request = page.waitForRequest((one) => one.url().endsWith("/generate"));
    await ask(page, "What is qwen-queue?");
    const { messages, ...others } = (await request).postDataJSON();
    assert.deepEqual(messages[0], { role: "system", content: "Be brief." });
    assert.deepEqual(others, { temperature: 0, seed: 7, priority: "low", enable_thinking: false });
    await lastAnswer(page);
    await panel.getByRole("button", { name: "Reset to defaults" }).click();
    assert.equal(await panel.getByLabel("Temperature").inputValue(), "");
    assert.equal(await panel.getByLabel("System prompt").inputValue(), "");
  });
});

test("tells what is wrong with a refused request, and retries it", async () => {
  await withPage({ allowed: /422/ }, async (page) => {
    const panel = await openSettings(page);
    await panel.getByLabel("Maximum of tokens").fill("1000000");
    await ask(page, "What is qwen-queue?");
    const card = page.getByRole("alert").filter({ hasText: "The request was refused" });
    await card.waitFor();
    assert.match(await card.innerText(), /max_tokens: must be/);
    await panel.getByLabel("Maximum of tokens").fill("");
    await card.getByRole("button", { name: "Retry" }).click();
    assert.match(await lastAnswer(page), /queue/i);
  });
});

test("shows the place in the queue, also after a reload, and cancels a task that waits", async () => {
  const pause = (verb) =>
    fetch(new URL(`/admin/${verb}`, env.url), {
      method: "POST",
      headers: { "X-API-Key": env.adminKey, "Content-Type": "application/json" },
      body: '{"model": "demo"}',
    });
  await pause("pause");
  try {
    await withPage({}, async (page) => {
      await ask(page, "What is qwen-queue?");
      await page.getByText("Position 1 in the queue").waitFor();
      await until("it to be stored", async () => (await stored(page)).some((one) => Object.values(one.nodes).some((node) => node.taskId)));
      await page.reload();
      await page.getByText("Position 1 in the queue").waitFor();
      await page.getByRole("button", { name: "Stop" }).click();
      await page.getByText("Stopped.", { exact: true }).waitFor();
      await page.getByRole("button", { name: "Retry as another version" }).click();
      await page.getByText("Position 1 in the queue").waitFor();
      await pause("resume");
      assert.match(await lastAnswer(page), /queue/i);
    });
  } finally {
    await pause("resume");
  }
});

test("asks for another key when the one in use is refused", async () => {
  const headers = { "X-API-Key": env.adminKey, "Content-Type": "application/json" };
  const made = await fetch(new URL("/admin/keys", env.url), { method: "POST", headers, body: '{"name": "short-lived"}' });
  const { id, key } = await made.json();
  await withPage({ key, allowed: /401/ }, async (page) => {
    await page.getByRole("heading", { name: "Ask a question" }).waitFor();
    await fetch(new URL(`/admin/keys/${id}`, env.url), { method: "DELETE", headers });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await ask(page, "What is qwen-queue?");
    const dialog = page.getByRole("dialog", { name: "Enter your API key" });
    await dialog.getByText("no longer accepts").waitFor();
    await dialog.getByRole("textbox", { name: "API key" }).fill(env.key);
    await dialog.getByRole("button", { name: "Continue" }).click();
    await dialog.waitFor({ state: "detached" });
    await page.getByText("The API key was refused").waitFor();
    await page.getByRole("button", { name: "Retry", exact: true }).click();
    assert.match(await lastAnswer(page), /queue/i);
  });
});
