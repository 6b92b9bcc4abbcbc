import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";
import { terms } from "./terms";

const OUT = "../../target/web";
/** Where `npm run dev` finds a gateway: a real one, or the played one of dev/. */
const GATEWAY = process.env.PGW_DEV_GATEWAY ?? "http://127.0.0.1:18081";

/** pgw-ui packs nothing while it runs: the cores belong to the forwarders. */
function pack(): Plugin {
  return {
    name: "pack",
    apply: "build",
    closeBundle() {
      const files = readdirSync(OUT, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
      for (const entry of files) {
        const file = join(entry.parentPath ?? entry.path, entry.name);
        if (!file.includes("/.vite/")) writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  plugins: [svelte(), pack(), terms(`${OUT}/.vite/packages`)],
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: ["chrome123", "firefox121", "safari17.5"],
    manifest: true,
    // The content policy takes nothing from a data: address.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { "/api": GATEWAY, "/agent": GATEWAY } },
});
