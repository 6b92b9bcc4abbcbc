// Whose work is in the pages, and on which terms: what the bundler really took. The package's list of
// copyrights is made of it.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin, Rollup } from "vite";

const LICENCE = /^(licen[cs]e|copying|copyright|notice)/i;
const MODULES = "/node_modules/";

interface About {
  name: string;
  version: string;
  license?: string;
  homepage?: string;
  repository?: string | { url?: string };
}

/** Each gets a folder: `about`, with a line each for name, version, licence and home; and its licences, as they came. */
export function terms(place: string): Plugin {
  return {
    name: "terms",
    apply: "build",
    writeBundle(_options, bundle) {
      const packages = [...taken(bundle, `${process.cwd()}${MODULES}`)].sort();
      if (packages.length === 0) this.error("nothing of the pages seems to come from a package");
      rmSync(place, { recursive: true, force: true });
      for (const folder of packages) {
        const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as About;
        const licences = readdirSync(folder).filter((file) => LICENCE.test(file));
        const texts = licences.map((file) => readFileSync(join(folder, file), "utf8"));
        const licence = about.license ?? (texts.some((text) => text.includes("MIT License")) ? "MIT" : "");
        if (licence === "" || texts.length === 0) this.error(`${about.name} does not say on which terms it is`);
        const kept = join(place, `${about.name.replace("/", "+")}@${about.version}`);
        mkdirSync(kept, { recursive: true });
        writeFileSync(join(kept, "about"), `${about.name}\n${about.version}\n${licence}\n${home(about)}\n`);
        licences.forEach((file, at) => writeFileSync(join(kept, file), texts[at] ?? ""));
      }
    },
  };
}

/** The folders of all packages of which something is in the bundle. */
function taken(bundle: Rollup.OutputBundle, modules: string): Set<string> {
  const folders = new Set<string>();
  for (const part of Object.values(bundle)) {
    if (part.type !== "chunk") continue;
    for (const [id, module] of Object.entries(part.modules)) {
      // Styles are taken out of the scripts, and are in the bundle all the same.
      if (module.renderedLength === 0 && !/\.css(\?|$)/.test(id)) continue;
      // The bundler brings a little of its own.
      const file = id.startsWith("\0vite/") ? `${modules}vite/` : id;
      const at = file.lastIndexOf(MODULES);
      if (at < 0) continue;
      const [first = "", second = ""] = file.slice(at + MODULES.length).split("/");
      folders.add(file.slice(0, at) + MODULES + (first.startsWith("@") ? `${first}/${second}` : first));
    }
  }
  return folders;
}

function home({ homepage, repository }: About): string {
  const url = typeof repository === "string" ? repository : (repository?.url ?? homepage ?? "");
  const whole = url.replace(/^git\+/, "").replace(/\.git$/, "").replace(/^github:/, "");
  return whole === "" || whole.includes("://") ? whole : `https://github.com/${whole}`;
}
