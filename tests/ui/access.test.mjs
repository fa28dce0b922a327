// The playground for everyone: axe-core, keyboard, narrow screens, both themes.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { findings, sideways } from "./helpers/access.mjs";
import { env, until, useBrowser, withPage } from "./helpers/browser.mjs";
import { answers, ask, lastAnswer, openSettings } from "./helpers/playground.mjs";

useBrowser();

for (const scheme of ["light", "dark"]) {
  test(`axe-core finds nothing serious in the ${scheme} theme`, async () => {
    await withPage({ scheme, key: "" }, async (page) => {
      await page.getByRole("heading", { name: "Enter your API key" }).waitFor();
      assert.deepEqual(await findings(page), []);
    });
    await withPage({ scheme, url: env.seeingUrl }, async (page) => {
      await page.getByRole("heading", { name: "Ask a question" }).waitFor();
      assert.deepEqual(await findings(page), []);
      await page.getByRole("button", { name: "Find", exact: true }).click();
      await page.getByLabel("Pictures and videos").setInputFiles(join(env.pictures, "photo.jpg"));
      await page.getByRole("button", { name: "Send" }).click();
      await page.getByRole("list", { name: "What was found" }).waitFor();
      assert.deepEqual(await findings(page), []);
    });
    await withPage({ scheme }, async (page) => {
      await openSettings(page);
      await page.getByRole("button", { name: "Compare side by side" }).click();
      await ask(page, "What is qwen-queue?");
      await lastAnswer(page);
      await page.getByRole("button", { name: "Export" }).click();
      assert.deepEqual(await findings(page), []);
    });
  });
}

test("switches the theme and keeps it", async () => {
  await withPage({ scheme: "light" }, async (page) => {
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await background();
    await page.getByRole("button", { name: "Theme" }).click();
    await page.getByRole("menuitemradio", { name: "Dark theme" }).click();
    const dark = await background();
    assert.notEqual(dark, light);
    await page.reload();
    assert.equal(await background(), dark);
  });
});

test("is operated by keyboard alone", async () => {
  await withPage({}, async (page) => {
    await page.getByRole("textbox", { name: "Question", exact: true }).waitFor();
    await until("the question to have the focus", () => page.evaluate(() => document.activeElement?.tagName === "TEXTAREA"));
    await page.keyboard.type("What is");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("qwen-queue?");
    await page.keyboard.press("Enter");
    assert.match(await lastAnswer(page), /queue/i);
    assert.equal(await page.locator(".question-text").innerText(), "What is\nqwen-queue?");
    await page.getByRole("button", { name: "Export" }).focus();
    await page.keyboard.press("Enter");
    await page.keyboard.press("ArrowDown");
    assert.match(await page.evaluate(() => document.activeElement.textContent), /^Markdown/);
    await page.keyboard.press("Escape");
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Export");
  });
});

for (const width of [360, 390]) {
  test(`works at ${width} px without scrolling sideways`, async () => {
    await withPage({ width, height: 780, hasTouch: true, isMobile: true }, async (page) => {
      await page.getByRole("heading", { name: "Ask a question" }).waitFor();
      assert.equal(await sideways(page), 0, "welcome");
      await ask(page, "How do I add a worker?");
      await lastAnswer(page);
      assert.equal(await sideways(page), 0, "answer");
      await page.getByRole("button", { name: "Show the conversations" }).click();
      await page.getByRole("button", { name: "New conversation" }).click();
      await page.getByRole("heading", { name: "Ask a question" }).waitFor();
      const panel = await openSettings(page);
      assert.equal(await sideways(page), 0, "settings");
      await panel.getByLabel("Maximum of tokens").fill("5");
      await panel.getByRole("button", { name: "Close the settings" }).click();
      await page.getByRole("button", { name: "Compare side by side" }).click();
      await ask(page, "What is qwen-queue?");
      await until("both answers", async () => (await answers(page).count()) === 2);
      await lastAnswer(page);
      assert.equal(await sideways(page), 0, "comparison");
    });
  });
}
