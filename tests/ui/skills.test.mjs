// Pictures, and skills with their forms, boxes and warnings.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { env, until, useBrowser, withPage } from "./helpers/browser.mjs";
import { answers, ask, lastAnswer, openSettings } from "./helpers/playground.mjs";

useBrowser();

const PHOTO = join(env.pictures, "photo.jpg");
const seeing = { url: env.seeingUrl };

function tiles(page) {
  return page.getByRole("form", { name: "Ask a question" }).getByRole("img");
}

/** Puts a file into the clipboard or the drag of an event, as a browser does. */
async function fire(page, selector, type, name) {
  const bytes = readFileSync(PHOTO).toString("base64");
  await page.evaluate(
    ([selector, type, name, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, { type: "image/jpeg" }));
      const init = { bubbles: true, cancelable: true, clipboardData: data, dataTransfer: data };
      const event = type === "paste" ? new ClipboardEvent(type, init) : new DragEvent(type, init);
      document.querySelector(selector).dispatchEvent(event);
    },
    [selector, type, name, bytes],
  );
}

test("attaches pictures by the picker, by pasting, by dropping and by the camera, and removes them", async () => {
  await withPage({ ...seeing, permissions: ["camera"] }, async (page) => {
    await page.getByLabel("Pictures and videos").setInputFiles(PHOTO);
    await tiles(page).nth(0).waitFor();
    await fire(page, ".composer textarea", "paste", "pasted.jpg");
    await tiles(page).nth(1).waitFor();
    await fire(page, ".composer", "drop", "dropped.jpg");
    await tiles(page).nth(2).waitFor();
    await page.getByRole("button", { name: "Take a picture" }).click();
    await page.getByRole("button", { name: "Take it" }).click();
    await tiles(page).nth(3).waitFor();
    await page.getByRole("button", { name: "Remove pasted.jpg" }).click();
    await until("three to be left", async () => (await tiles(page).count()) === 3);
    await page.getByLabel("Pictures and videos").setInputFiles({ name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("a") });
    await page.getByText("a.txt is neither a picture").waitFor();
    assert.equal(await tiles(page).count(), 3);
  });
});

test("sends a picture as a blob, and shows it after a reload", async () => {
  await withPage(seeing, async (page) => {
    const panel = await openSettings(page);
    await panel.getByLabel("Maximum of tokens").fill("8");
    await page.getByLabel("Pictures and videos").setInputFiles(PHOTO);
    const request = page.waitForRequest((one) => one.url().endsWith("/generate"));
    await ask(page, "What is this?");
    const [{ role, content }, ...others] = (await request).postDataJSON().messages;
    assert.deepEqual([role, content[1], others], ["user", { type: "text", text: "What is this?" }, []]);
    const blob = await page.evaluate(
      async ([id, key]) => (await fetch(`/blobs/${id}`, { headers: { "X-API-Key": key } })).json(),
      [content[0].image_url.url, env.key],
    );
    assert.equal(blob.size, readFileSync(PHOTO).length);
    assert.equal(blob.media_type, "image/jpeg");
    await until("the answer", async () => (await answers(page).last().getAttribute("aria-busy")) === "false");
    assert.equal(await page.getByRole("alert").count(), 0);
    await page.reload();
    const picture = page.getByRole("img", { name: "photo.jpg" });
    await until("the picture", () => picture.evaluate((element) => element.naturalWidth > 0));
  });
});

test("makes a form of a skill's schema, and draws its boxes where the answer has them", async () => {
  await withPage(seeing, async (page) => {
    await page.getByRole("button", { name: "Find", exact: true }).click();
    const panel = page.getByRole("complementary", { name: "Settings" });
    await page.getByText("attach one image").waitFor();
    assert.ok(await page.getByRole("button", { name: "Send" }).isDisabled());
    await panel.getByLabel("Count").fill("10");
    await panel.getByText("At most 9.").waitFor();
    await panel.getByLabel("Count").fill("3");
    assert.deepEqual(await panel.getByLabel("Style").locator("option").allInnerTexts(), ["Default (plain)", "plain", "full"]);
    await panel.getByLabel("Style").selectOption("full");
    await page.getByLabel("Pictures and videos").setInputFiles(PHOTO);
    const request = page.waitForRequest((one) => one.url().endsWith("/api/v1/skills/find"));
    await page.getByRole("button", { name: "Send" }).click();
    const { images, ...others } = (await request).postDataJSON();
    assert.equal(images.length, 1);
    assert.deepEqual(others, { count: 3, style: "full" });

    const answer = answers(page).last();
    const items = answer.getByRole("list", { name: "What was found" }).getByRole("button");
    await until("two items", async () => (await items.count()) === 2);
    await checkBoxes(page, answer);
    await items.first().hover();
    await until("its mark to stand out", async () => (await answer.locator(".mark.is-active").count()) === 1);
    await page.mouse.move(0, 0);
    await items.nth(1).focus();
    await until("the focused one to stand out", () =>
      answer.locator(".mark").nth(1).evaluate((mark) => mark.classList.contains("is-active")),
    );
    await answer.getByText("Text of the answer").click();
    assert.match(await answer.locator("pre").innerText(), /bbox_2d/);
    const saved = page.waitForEvent("download");
    await answer.getByRole("button", { name: "Picture with marks" }).click();
    assert.match((await saved).suggestedFilename(), /\.png$/);
  });
});

/** The boxes have the coordinates of the result, scaled as the picture is. */
async function checkBoxes(page, answer) {
  const figure = answer.locator(".marked-picture");
  const picture = await figure.locator("img").boundingBox();
  const size = await figure.locator("img").evaluate((image) => [image.naturalWidth, image.naturalHeight]);
  const { structured } = await page.evaluate(async (key) => {
    const names = Object.values(performance.getEntriesByType("resource")).map((entry) => entry.name);
    const id = names.filter((name) => name.includes("/events/")).at(-1).split("/").at(-1);
    return (await fetch(`/result/${id}`, { headers: { "X-API-Key": key } })).json();
  }, env.key);
  assert.equal(structured.length, 2);
  for (const [index, { pixels }] of structured.entries()) {
    const drawn = await figure.locator(".mark rect").nth(index).boundingBox();
    const [left, top, right, bottom] = pixels.box;
    const expected = [left / size[0], top / size[1], right / size[0], bottom / size[1]];
    const seen = [
      (drawn.x - picture.x) / picture.width,
      (drawn.y - picture.y) / picture.height,
      (drawn.x + drawn.width - picture.x) / picture.width,
      (drawn.y + drawn.height - picture.y) / picture.height,
    ];
    for (const [at, number] of expected.entries()) {
      assert.ok(Math.abs(number - seen[at]) < 0.02, `${JSON.stringify(expected)} but ${JSON.stringify(seen)}`);
    }
  }
}

test("shows markup of models and users as text", async () => {
  await withPage(seeing, async (page, context) => {
    const far = [];
    context.on("request", (one) => one.url().includes("example.org") && far.push(one.url()));
    page.on("dialog", () => assert.fail("a script ran"));
    await page.getByRole("button", { name: "Hostile" }).click();
    await ask(page, "<img src=x onerror=alert(4)><script>alert(5)</script>");
    const text = await lastAnswer(page);
    assert.match(text, /<img src=x onerror=alert\(1\)> <script>alert\(2\)<\/script>/);
    const markdown = answers(page).last().locator(".markdown");
    assert.equal(await markdown.locator("script, style, img, iframe, [onerror], [style]").count(), 0);
    assert.equal(await markdown.locator("strong").innerText(), "strong", "Markdown is rendered");
    const hrefs = await markdown.locator("a").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
    assert.deepEqual(hrefs, [null, "https://example.org/a.png"], "no javascript:, and a remote picture is a link");
    assert.equal(await page.locator(".question-text").innerText(), "<img src=x onerror=alert(4)><script>alert(5)</script>");
    assert.deepEqual(far, []);
  });
});
