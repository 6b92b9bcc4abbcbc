// node browser/run.mjs <story>: plays one story in a real browser. The lab starts it beside a whole
// gateway (`cargo test -p pgw-lab --test browser`) and grants its wishes.

import { chromium } from "playwright-core";
import { Stage } from "./stage.mjs";

const [story] = process.argv.slice(2);
const { default: play } = await import(`./stories/${story}.mjs`);
// The lab is a namespace of its own already; root, which it may be there, gets no second one.
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-quic", "--disable-dev-shm-usage"] });
const stage = new Stage(browser, story);
try {
  await play(stage);
  stage.mustBeQuiet();
} catch (error) {
  console.error(error);
  await stage.lastMoment();
  process.exitCode = 1;
} finally {
  await browser.close();
  process.stdin.destroy();
}
