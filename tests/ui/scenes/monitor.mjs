// What docs/WEB_UI.md shows of the monitor.

import { env } from "../helpers/browser.mjs";

const origin = () => new URL(env.url).origin;
let firstTask;

/** Sends tasks for a while, so that the plots have something to show. Returns the id of a slow one. */
async function load() {
  const submit = async (fields) => {
    const headers = { "X-API-Key": env.key, "Content-Type": "application/json" };
    const json = { prompt: "How do I add a worker?", max_tokens: 40, ...fields };
    const answer = await fetch(`${origin()}/generate`, { method: "POST", headers, body: JSON.stringify(json) });
    return (await answer.json()).task_id;
  };
  const slow = await submit({ model: env.slowModel, raw: true, max_tokens: 400 });
  for (let round = 0; round < 30; round += 1) {
    for (let count = 0; count <= round % 5; count += 1) await submit({ model: round % 4 ? "demo" : env.slowModel });
    await new Promise((resolve) => setTimeout(resolve, 3000));
  }
  return slow;
}

const at = (place) => `${env.url}#/monitor/${place}`;

export const scenes = [
  {
    name: "monitor",
    options: { adminKey: env.adminKey },
    async show(page) {
      firstTask ??= load();
      await firstTask;
      await page.goto(at("overview"));
      await page.getByRole("img", { name: /^Throughput.*Completed/ }).waitFor();
    },
  },
  {
    name: "monitor-task",
    options: { adminKey: env.adminKey },
    async show(page) {
      firstTask ??= load();
      await page.goto(at(`tasks/${await firstTask}`));
      await page.getByText("generated tokens").waitFor({ timeout: 60_000 });
    },
  },
];
