// What was measured with a crowd, as the page that is published: docs/bench/ui.md.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

const PAGE = fileURLToPath(new URL("../../../docs/bench/ui.md", import.meta.url));
const GIBIBYTE = 2 ** 30;

/** Only where it is asked for, and of programs as they are shipped (`cargo xtask bench ui`). */
export function publish(page, results) {
  if (process.env.PGW_BENCH !== "write") return;
  assert.equal(process.env.PGW_BUILD, "release", "numbers of programs that nobody ships are not published");
  const rows = results.map(({ what, wanted, count, median, worst }) => `| ${what} | ${wanted === null ? "" : `${wanted} ms`} | ${number(median)} | ${number(worst)} | ${count} |`);
  writeFileSync(PAGE, `${text(page.context().browser().version(), rows)}\n`);
}

const number = (ms) => `${ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;

function text(chromium, rows) {
  const processor = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "?"}`;
  return `# The pages with a thousand devices

How: \`cargo xtask bench ui\` plays the browser story \`crowd\`, which applies a document with 1,000 devices (900 with a mapping, 20 of them open;
the other upstreams are dead, so that no thousand forwarders run beside the browser) to a whole gateway in a lab, and opens \`/devices\`
in Chromium on the LAN, 1280 × 860. It writes this page; in a test run the same story prints its numbers and asserts none of them.

* **Interactive after load**: from the page's \`load\` event to the first rows drawn and a free main thread.
* **Keystroke**: from each \`keydown\` in the search to the frame with its rows drawn; half of the keys delete.
* **Event shown**: from \`updated_at\` of a change that somebody else makes by REST to the frame with the changed row. Both ends
  read the same clock.
* **Paste**: into the import. What is long is kept beside the field, where a browser would need seconds to lay it out.

| what | wanted | median | worst | of |
|---|---|---|---|---|
${rows.join("\n")}

Release builds of all programs, on ${processor}, ${(totalmem() / GIBIBYTE).toFixed(0)} GiB, with Chromium ${chromium}, the gateway and the lab's upstreams
on the same cores; load average at the end: ${loadavg()[0].toFixed(1)}.`;
}
