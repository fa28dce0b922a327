// What answers may have: reasoning, code, tables, calls of functions, failures, places in pictures.

import assert from "node:assert/strict";
import { test } from "node:test";
import { findings } from "./helpers/access.mjs";
import { until, useBrowser, withPage } from "./helpers/browser.mjs";
import { answers } from "./helpers/playground.mjs";
import { CODE, conversation, importInto, marked } from "./helpers/sample.mjs";

useBrowser();

test("shows reasoning, code, tables, calls and failures", async () => {
  await withPage({ permissions: ["clipboard-read", "clipboard-write"] }, async (page) => {
    await importInto(page, conversation());
    const [first, second, third] = [0, 1, 2].map((index) => answers(page).nth(index));
    await first.getByText("The user has one machine").waitFor({ state: "hidden" });
    await first.getByText("Thought for 4.2 s").click();
    await first.getByText("The user has one machine").waitFor();
    assert.equal(await first.getByRole("row").count(), 4);
    assert.equal(await first.getByText("second worker", { exact: true }).evaluate((element) => element.tagName), "STRONG");
    assert.match(await first.locator("dl").innerText(), /1,240 tokens in \(1,184 cached\)/);
    await first.getByRole("button", { name: "Copy code" }).click();
    await until("the code to be copied", async () => (await page.evaluate(() => navigator.clipboard.readText())) === CODE);
    await second.getByText("list_workers").waitFor();
    assert.deepEqual(JSON.parse(await second.locator("pre").innerText()), { site: "Oslo", fields: ["running", "capacity"] });
    await third.getByText("The queue is full").waitFor();
    await third.getByText("wait 5 s").waitFor();
    await third.getByRole("button", { name: "Retry" }).waitFor();
    assert.deepEqual(await findings(page), []);
  });
});

test("keeps marks on their places when the picture shrinks with the page", async () => {
  await withPage({}, async (page) => {
    await importInto(page, await marked(page));
    for (const width of [1440, 390]) {
      await page.setViewportSize({ width, height: 800 });
      const picture = await page.locator(".marked-picture img").boundingBox();
      const box = await page.locator(".mark rect").nth(1).boundingBox();
      const scale = picture.width / 640;
      assert.ok(picture.x + picture.width <= width);
      assert.ok(Math.abs(box.x - picture.x - 318 * scale) < 4, `at ${width} px`);
      assert.ok(Math.abs(box.width - 140 * scale) < 8, `at ${width} px`);
    }
  });
});
