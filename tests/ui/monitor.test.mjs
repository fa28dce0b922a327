// The operators' monitor in a browser, with a `qwen-queue up` of its own, which tests may kill and drain.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { until, useBrowser, withPage } from "./helpers/browser.mjs";
import { findings, sideways } from "./helpers/access.mjs";
import { ADMIN_KEY, KEY, Server } from "./monitor/server.mjs";

useBrowser();

let server;
/** Errors of the console that are expected: a gateway without history answers 404 when the page asks for it. */
let allowed;
before(async () => {
  server = await Server.start();
  const history = await server.call("GET", "/admin/history", { key: ADMIN_KEY });
  if (history.status === 404) allowed = /404/;
});
after(() => server?.stop());

/** Opens a page of the monitor and passes it to `act`. */
function open(place, act, options) {
  const url = `${server.ui}#/monitor/${place}`;
  return withPage({ url, key: KEY, adminKey: ADMIN_KEY, allowed, ...options }, act);
}

const tabs = (page) => page.getByRole("navigation", { name: "Pages of the monitor" });
const row = (page, text) => page.getByRole("row").filter({ hasText: text });

/** Answers the question that is open by pressing the button with the verb. Returns the question. */
async function confirm(page, verb) {
  const dialog = page.getByRole("dialog");
  const text = await dialog.innerText();
  await dialog.getByRole("button", { name: verb, exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  return text;
}

test("the operators' key opens the room, and another one does not", async () => {
  await open(
    "overview",
    async (page) => {
      const field = page.getByLabel("Operators' key");
      await field.fill(KEY);
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByText("does not accept this key for operators").waitFor();
      await field.fill(ADMIN_KEY);
      await page.getByRole("button", { name: "Continue" }).click();
      await tabs(page).getByRole("link", { name: "Dead letters" }).waitFor();
      assert.equal(await page.evaluate(() => localStorage.length), 0, "the key is kept for the tab only");
    },
    { key: "", adminKey: "", allowed: /40[34]/ },
  );
});

test("a model is paused, keeps its tasks, and is resumed", async () => {
  await until("a task ended", async () => (await server.status(await server.submit())) !== "failed");
  await open("overview", async (page) => {
    await row(page, "demo").getByText("idle").waitFor();
    await row(page, "demo").getByRole("button", { name: "Pause demo" }).click();
    assert.match(await confirm(page, "Pause"), /Pause demo\?/);
    await row(page, "demo").getByText("paused").waitFor();
    const kept = await server.submit();
    await row(page, "demo").locator('td[data-label="Normal"]', { hasText: /^1$/ }).waitFor();
    assert.equal(await server.status(kept), "queued");
    await row(page, "demo").getByRole("button", { name: "Resume demo" }).click();
    assert.match(await confirm(page, "Resume"), /Resume demo\?/);
    await row(page, "demo").getByText("paused").waitFor({ state: "detached" });
    await until("the task ended", async () => (await server.status(kept)) === "completed");
  });
});

test("the plots have data", async () => {
  await open("overview", async (page) => {
    const named = (title) => page.getByRole("img", { name: new RegExp(`^${title}`) });
    for (let count = 0; count < 4; count += 1) {
      await server.submit();
      await page.waitForTimeout(3000);
    }
    const label = (title) => named(title).getAttribute("aria-label");
    await until("tasks are plotted", async () => /Completed (?!0\b)[\d.]+/.test(await label("Throughput")), 40_000);
    assert.match(await label("Queued and processing"), /Capacity [1-9]/);
    assert.match(await label("Processing time"), /demo [\d.]+ m?s/);
    const colors = await page
      .locator(".m-plot canvas")
      .nth(1)
      .evaluate((canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const isColored = (at) =>
          data[at + 3] > 200 && Math.max(...data.slice(at, at + 3)) - Math.min(...data.slice(at, at + 3)) > 60;
        return Array.from({ length: data.length / 4 }, (_, pixel) => isColored(pixel * 4)).filter(Boolean).length;
      });
    assert.ok(colors > 20, `bars are drawn: ${colors} colored pixels`);
    await page.getByRole("radio", { name: "6 h" }).check({ force: true });
    await named("Throughput").waitFor();
  });
});

test("polling rests while the page is hidden", async () => {
  await open("overview", async (page) => {
    await row(page, "demo").waitFor();
    let requests = 0;
    page.on("request", (request) => {
      if (request.url().endsWith("/admin/overview")) requests += 1;
    });
    const hide = (isHidden) =>
      page.evaluate((value) => {
        Object.defineProperty(document, "hidden", { value, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }, isHidden);
    await hide(true);
    await page.waitForTimeout(5000);
    assert.equal(requests, 0);
    await hide(false);
    await until("the page asks again", async () => requests > 0, 3000);
  });
});

test("a task's life is shown, and a running one is cancelled", async () => {
  const ended = await server.submit({ metadata: { ticket: "<b>42</b>" } });
  await until("it ended", async () => (await server.status(ended)) === "completed");
  await open("tasks", async (page) => {
    await page.getByLabel("Task id").fill("12");
    await page.getByRole("button", { name: "Look up" }).click();
    await page.getByText("'12' is not a task id").waitFor();
    await page.getByLabel("Task id").fill(ended);
    await page.keyboard.press("Enter");
    await page.getByText("Generating").waitFor();
    await page.getByText(/24 generated tokens/).waitFor();
    await page.getByText("<b>42</b>").waitFor();
    await page.getByText("Answer").click();
    const { json } = await server.call("GET", `/result/${ended}`);
    assert.equal(await page.locator("pre").innerText(), json.result);

    const running = await server.submitLong();
    await page.goto(`${server.ui}#/monitor/tasks/${running}`);
    await page.getByText("processing").first().waitFor();
    await page.getByRole("button", { name: "Cancel the task" }).click();
    assert.match(await confirm(page, "Cancel the task"), new RegExp(running));
    await page.getByText("cancelled").first().waitFor();
    await until("the server agrees", async () => (await server.status(running)) === "cancelled");
  });
});

test("a task of another owner asks for its key", async () => {
  const { key } = await server.admin("POST", "/admin/keys", { name: "other", owner: "other" });
  const hidden = await server.submit({}, key);
  await open(
    `tasks/${hidden}`,
    async (page) => {
      await page.getByText("can’t be shown").waitFor();
      await page.getByRole("button", { name: "Enter a client’s key" }).click();
      await page.getByLabel("API key").last().fill(key);
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByText("accepted into the queue").waitFor();
    },
    { allowed: /40[134]/ },
  );
});

test("tasks are listed, searched and opened", async (t) => {
  const listing = await server.call("GET", "/admin/tasks", { key: ADMIN_KEY });
  if (listing.status === 404) return t.skip("this gateway does not list tasks");
  const { key } = await server.admin("POST", "/admin/keys", { name: "lister", owner: "lister" });
  const found = await server.submit({}, key);
  const waiting = await server.submit({ delay_s: 600 });
  await open(
    "tasks",
    async (page) => {
      await row(page, found).getByText("completed").waitFor();
      await page.getByLabel("State").selectOption("delayed");
      await row(page, waiting).getByText("delayed").waitFor();
      await row(page, found).waitFor({ state: "detached" });
      await page.getByRole("button", { name: "Cancel those queued" }).click();
      assert.match(await confirm(page, "Cancel 1 queued task"), /1 queued task of all models/);
      await row(page, waiting).waitFor({ state: "detached" });
      await until("it is cancelled", async () => (await server.status(waiting)) === "cancelled");
      await page.getByLabel("State").selectOption("");
      await page.getByLabel("Owner").fill("lister");
      await row(page, waiting).waitFor({ state: "detached" });
      await page.getByLabel("Submitted").selectOption("900");
      await row(page, found).locator("td").nth(2).click();
      await page.getByText("completed at").waitFor();
      await page.getByText("can’t be shown").waitFor();
      await page.getByRole("link", { name: "All tasks" }).click();
      await row(page, found).waitFor();
      await page.getByLabel("Owner").fill("nobody");
      await page.getByText("No task matches").waitFor();
    },
    { allowed: /40[134]/ },
  );
});

test("a lost connection is said, and a killed worker's task is a dead letter that is replayed", async () => {
  await open(
    "overview",
    async (page) => {
      await row(page, "demo").waitFor();
      const lost = [await server.submitLong(), await server.submitLong()];
      await until("both run", async () =>
        (await Promise.all(lost.map((id) => server.status(id)))).every((of) => of === "processing"),
      );
      await server.kill();
      await page.getByText(/^The (connection is lost|server can’t answer)$/).waitFor();
      await page.getByText(/data of \d\d:\d\d:\d\d/).waitFor();
      await server.up();
      await page.getByText("live", { exact: true }).waitFor();
      assert.equal(await page.getByText("The page tries again").count(), 0);
      await until(
        "there are two letters",
        async () => (await server.admin("GET", "/admin/dead-letters")).dead_letters.length === 2,
      );
      await tabs(page).getByRole("link", { name: /^Dead letters ?2$/ }).click();
      await row(page, lost[0]).getByText("worker_lost").waitFor();
      await row(page, lost[0]).locator("td").nth(2).click();
      const letter = page.getByRole("region", { name: "Dead letter", exact: true });
      await letter.getByText("the worker's lease expired").waitFor();
      await letter.getByText("Request").click();
      await letter.getByText('"prompt"').waitFor();
      await letter.getByRole("button", { name: `Replay ${lost[0]}` }).click();
      assert.match(await confirm(page, "Replay"), new RegExp(lost[0]));
      await page.waitForURL(/#\/monitor\/tasks\/(?!$)/);
      const again = page.url().split("/").at(-1);
      assert.notEqual(again, lost[0]);
      await page.getByText("processing").first().waitFor();
      await server.call("POST", `/cancel/${again}`);

      await tabs(page).getByRole("link", { name: "Dead letters" }).click();
      await row(page, lost[1]).waitFor();
      assert.equal(await row(page, lost[0]).count(), 0);
      await page.getByRole("button", { name: "Purge all" }).click();
      assert.match(await confirm(page, "Purge 1 dead letter"), /Purge 1 dead letter of all models\?/);
      await page.getByText("No dead letters").waitFor();
      assert.deepEqual((await server.admin("GET", "/admin/dead-letters")).dead_letters, []);
    },
    { allowed: /Failed to load resource/ },
  );
});

test("a key is created, used, changed, blocked, rotated and revoked", async () => {
  await open("keys", async (page) => {
    await page.getByRole("button", { name: "New key" }).click();
    const form = page.getByRole("dialog");
    const field = (name) => form.getByRole("textbox", { name, exact: true });
    await form.getByRole("button", { name: "Create the key" }).click();
    await form.getByText("Enter a name.").waitFor();
    await field("Name").fill("nightly");
    await field("Owner").fill("acme");
    await field("Tokens per day").fill("many");
    await form.getByRole("button", { name: "Create the key" }).click();
    await form.getByText("Enter a whole number").waitFor();
    await field("Tokens per day").fill("2_000_000");
    await form.getByRole("button", { name: "Create the key" }).click();
    const shown = page.getByRole("dialog", { name: "The key nightly" });
    const first = await shown.locator("code").innerText();
    await shown.getByRole("button", { name: "I have stored it" }).click();
    assert.equal((await server.call("GET", "/v1/models", { key: first })).status, 200);
    await server.submit({}, first);
    assert.ok(!(await page.content()).includes(first), "the text is shown once");

    await row(page, "nightly").getByText("2M tokens/day").waitFor();
    await row(page, "nightly").focus();
    await page.keyboard.press("Enter");
    const panel = page.getByRole("region", { name: "nightly" });
    await panel.getByRole("button", { name: "Change" }).click();
    await field("Tasks in flight").fill("7");
    await field("Tokens per day").fill("");
    await page.getByRole("button", { name: "Save" }).click();
    await row(page, "nightly").getByText("7 in flight").waitFor();
    const stored = (await server.admin("GET", "/admin/keys")).keys.find((key) => key.name === "nightly");
    assert.deepEqual([stored.max_in_flight, stored.tokens_per_day, stored.owner], [7, null, "acme"]);

    const isRefused = async (key) => (await server.call("GET", "/v1/models", { key })).status === 401;
    await panel.getByRole("button", { name: "Block" }).click();
    assert.match(await confirm(page, "Block"), /Block nightly\?/);
    await panel.getByText("blocked").waitFor();
    await until("it is refused", () => isRefused(first));
    await panel.getByRole("button", { name: "Unblock" }).click();
    await confirm(page, "Unblock");
    await panel.getByText("active").waitFor();
    await panel.getByRole("button", { name: "Rotate" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Rotate", exact: true }).click();
    const second = await shown.locator("code").innerText();
    await shown.getByRole("button", { name: "I have stored it" }).click();
    await until("the old text is refused", () => isRefused(first));
    assert.equal((await server.call("GET", "/v1/models", { key: second })).status, 200);
    await panel.getByRole("button", { name: "Revoke" }).click();
    assert.match(await confirm(page, "Revoke"), /Revoke nightly\?/);
    await row(page, "nightly").waitFor({ state: "detached" });
    await until("the key is refused", () => isRefused(second));
  });
});

test("periodic tasks are listed with what holds them up, and one is run", async () => {
  await open("schedule", async (page) => {
    const nightly = row(page, "nightly-report");
    await nightly.getByText("@yearly").waitFor();
    await nightly.getByText("Europe/Oslo").waitFor();
    await nightly.getByText("on", { exact: true }).waitFor();
    await nightly.locator('td[data-label="Next"]', { hasText: /^in \d+ d$/ }).waitFor();
    await nightly.getByText("none").waitFor();
    await row(page, "by-a-lost-key").getByText("held up").waitFor();
    await row(page, "by-a-lost-key").getByText("key_00000000000000000000000000000000").waitFor();
    const offered = row(page, "on-demand");
    await offered.getByText("off", { exact: true }).waitFor();

    await offered.getByRole("button", { name: "Run on-demand" }).click();
    assert.match(await confirm(page, "Run"), /Run on-demand now\?/);
    await page.getByRole("status").filter({ hasText: "Submitted as task" }).waitFor();
    await offered.getByText("completed").waitFor();
    await offered.locator('td[data-label="Tasks"]', { hasText: /^1$/ }).waitFor();
    await offered.getByText("by an operator").waitFor();
    const { tasks } = await server.admin("GET", "/admin/schedule");
    const { task_id } = tasks.find((task) => task.name === "on-demand").last;
    assert.match(await offered.getByRole("link").getAttribute("href"), new RegExp(`/monitor/tasks/${task_id}$`));

    await row(page, "by-a-lost-key").getByRole("button", { name: "Run by-a-lost-key" }).click();
    await confirm(page, "Run");
    await page.getByRole("status").filter({ hasText: "There is no key" }).waitFor();
  }, { allowed: /409/ });
});

test("usage is summed by owner, sorted, filtered and saved", async () => {
  await until("acme's task is counted", async () => {
    const { rows } = await server.admin("GET", "/admin/usage?group_by=owner");
    return rows.some((of) => of.owner === "acme");
  });
  await open("usage", async (page) => {
    await row(page, "acme").waitFor();
    await page.getByRole("button", { name: "Requests" }).click();
    const cells = page.locator('tbody td[data-label="Requests"]');
    const requests = (await cells.allInnerTexts()).map(Number);
    assert.deepEqual(
      requests,
      [...requests].sort((a, b) => b - a),
    );
    assert.equal(await page.getByRole("columnheader", { name: "Requests" }).getAttribute("aria-sort"), "descending");
    const total = await page.locator('tfoot td[data-label="Requests"]').innerText();
    assert.equal(
      Number(total),
      requests.reduce((sum, of) => sum + of, 0),
    );
    await page.getByLabel("Filter rows").fill("ACME");
    assert.equal(await cells.count(), 1);
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "CSV" }).click(),
    ]);
    const lines = readFileSync(await download.path(), "utf8")
      .trim()
      .split("\r\n");
    assert.equal(
      lines[0],
      "day,owner,requests,errors,cancelled,prompt_tokens,cached_tokens,completion_tokens,images,wait_s,compute_s",
    );
    assert.equal(lines.length, requests.length + 1);
    assert.match(
      lines.find((line) => line.includes(",acme,")),
      /^\d{4}-\d\d-\d\d,acme,1,0,0,/,
    );
  });
});

test("a table is used by keyboard", async () => {
  for (const name of ["alpha", "beta"]) await server.admin("POST", "/admin/keys", { name });
  await open("keys", async (page) => {
    await row(page, "alpha").focus();
    const names = await page.locator("tbody tr").evaluateAll((rows) => rows.map((one) => one.innerText.split("\n")[0].trim()));
    const focused = () => page.evaluate(() => document.activeElement?.closest("tr")?.innerText.split("\n")[0].trim() ?? "");
    assert.equal(await focused(), "alpha");
    await page.keyboard.press("End");
    assert.equal(await focused(), names.at(-1));
    await page.keyboard.press("Home");
    assert.equal(await focused(), names[0]);
    await page.keyboard.press("ArrowDown");
    assert.equal(await focused(), names[1]);
    await page.keyboard.press("Enter");
    await page.getByRole("region", { name: names[1] }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("region", { name: names[1] }).waitFor({ state: "detached" });
  });
});

const PLACES = ["overview", "tasks", "workers", "dead-letters", "schedule", "keys", "usage"];

for (const options of [{ width: 1440 }, { width: 390, height: 844, scheme: "dark" }]) {
  test(`pages are accessible and fit at ${options.width} px`, async () => {
    const task = await server.submit();
    await open(
      "overview",
      async (page) => {
        for (const place of [...PLACES, `tasks/${task}`]) {
          await page.goto(`${server.ui}#/monitor/${place}`);
          await page.getByText("Loading").waitFor({ state: "detached" });
          assert.deepEqual(await findings(page), [], place);
          assert.equal(await sideways(page), 0, `${place} is too wide`);
        }
      },
      options,
    );
  });
}

test("a worker is drained", async () => {
  await open("workers", async (page) => {
    const { workers } = await server.admin("GET", "/admin/workers");
    const [worker] = workers;
    await row(page, worker.host).getByText("ready").waitFor();
    await row(page, worker.host).getByText("demo", { exact: true }).waitFor();
    await row(page, worker.host)
      .getByRole("button", { name: `Drain ${worker.host} pid ${worker.pid}` })
      .click();
    assert.match(await confirm(page, "Drain"), new RegExp(`Drain .*pid ${worker.pid}.*only ready worker`, "s"));
    await page.getByText("No worker reports.").waitFor();
  });
});
