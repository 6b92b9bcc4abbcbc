// What every story stands on: visitors with a browser each, and an ear for what their consoles say.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UI } from "./gateway.mjs";

const SCREENS = fileURLToPath(new URL("../../../target/screens", import.meta.url));
const PATIENCE_MS = 30_000;

export const WIDE = { width: 1280, height: 860 };
export const PHONE = { width: 360, height: 740 };

export class Stage {
  #browser;
  #story;
  #pages = [];
  #complaints = [];
  #bearable = [];

  constructor(browser, story) {
    this.#browser = browser;
    this.#story = story;
  }

  /** A browser of his own: nothing of another one's is in it. */
  async visitor({ size = WIDE, theme = "light", locale = "en-GB" } = {}) {
    const context = await this.#browser.newContext({ baseURL: UI, viewport: size, colorScheme: theme, locale, hasTouch: size === PHONE, isMobile: size === PHONE, reducedMotion: "reduce" });
    
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("console", (message) => message.type() === "error" && this.#complaints.push(`${message.text()} (${message.location().url})`));
    page.on("pageerror", (error) => this.#complaints.push(String(error.stack ?? error)));
    page.on("dialog", (dialog) => this.#complaints.push(`a dialog: ${dialog.message()}`) && dialog.dismiss());
    this.#pages.push(page);
    return page;
  }

  /** A story of faults says which of its complaints are part of it. */
  bears(...patterns) {
    this.#bearable.push(...patterns);
  }

  mustBeQuiet() {
    assert.deepEqual(this.#complaints.filter((text) => !this.#bearable.some((pattern) => pattern.test(text))), [], "the browser complained");
  }

  async picture(page, name, more = {}) {
    mkdirSync(SCREENS, { recursive: true });
    await page.screenshot({ path: join(SCREENS, `${name}.png`), animations: "disabled", ...more });
  }

  async lastMoment() {
    for (const [at, page] of this.#pages.entries()) {
      if (page.isClosed()) continue;
      console.error(`failed at ${page.url()}`);
      await this.picture(page, `failed-${this.#story}-${at}`).catch((error) => console.error(error));
    }
    console.error(this.#complaints.join("\n"));
  }
}
