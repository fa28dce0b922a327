// Opens the page in Chromium. Console errors and violations of the content security policy fail the test.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

export const env = {
  url: process.env.UI_URL,
  seeingUrl: process.env.UI_SEEING_URL,
  key: process.env.UI_KEY,
  adminKey: process.env.UI_ADMIN_KEY,
  slowModel: process.env.UI_SLOW_MODEL,
  pictures: process.env.UI_PICTURES,
};

let browser;

/** Starts one browser for the tests of a file. */
export function useBrowser() {
  before(async () => {
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
    });
  });
  after(() => browser.close());
}

/**
 * Opens the page in a new profile and passes it to `act`. `allowed` matches console errors that the test provokes.
 */
export async function withPage(options, act) {
  const { width = 1440, height = 900, scheme = "light", url = env.url, key = env.key, adminKey, allowed, ...others } = options;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, ...others });
  const problems = [];
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => {
      console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  await context.addInitScript(storeKeys, { key, adminKey });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(error.stack));
  try {
    await page.goto(url);
    await act(page, context);
  } catch (error) {
    if (process.env.UI_FAILURES) await page.screenshot({ path: `${process.env.UI_FAILURES}/${Date.now()}.png` });
    throw error;
  } finally {
    await context.close();
  }
  const unexpected = problems.filter((text) => !allowed?.test(text));
  assert.deepEqual(unexpected, [], "the console has errors");
}

/** Keys that the user of this profile has entered before. */
function storeKeys({ key, adminKey }) {
  if (key && !sessionStorage.getItem("qwen-queue.key")) sessionStorage.setItem("qwen-queue.key", key);
  if (adminKey) sessionStorage.setItem("qwen-queue.admin-key", adminKey);
}

/** Waits until a condition holds, and returns what it returned. */
export async function until(what, condition, timeout = 20_000) {
  const deadline = Date.now() + timeout;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) assert.fail(`timeout: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
