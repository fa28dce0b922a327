// Takes the pictures of docs/images/ui: the scenes of scenes/*.mjs, wide and narrow, light and dark.
//
// A scene is { name, options?, show(page) }; its options are those of withPage.

import { mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { useBrowser, withPage } from "./helpers/browser.mjs";

const home = dirname(fileURLToPath(import.meta.url));
const pictures = process.env.UI_SCREENSHOTS ?? join(home, "../../docs/images/ui");
const SIZES = [
  { width: 1440, height: 900 },
  { width: 390, height: 844, isMobile: true, hasTouch: true },
];

mkdirSync(pictures, { recursive: true });
useBrowser();

for (const file of readdirSync(join(home, "scenes"))) {
  const { scenes } = await import(`./scenes/${file}`);
  for (const { name, options, show } of scenes) {
    for (const size of SIZES) {
      for (const scheme of ["light", "dark"]) {
        test(`${name} at ${size.width} px, ${scheme}`, async () => {
          await withPage({ ...size, scheme, ...options }, async (page) => {
            await show(page);
            await page.waitForTimeout(400);
            await page.screenshot({ path: join(pictures, `${name}-${size.width}-${scheme}.png`) });
          });
        });
      }
    }
  }
}
