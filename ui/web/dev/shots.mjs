// node dev/shots.mjs <url> <folder> [page…]: pictures of the pages, in both themes and widths, and
// whatever the browser complains about. PGW_PLAYWRIGHT says where playwright-core is.

import { mkdirSync } from "node:fs";

const [url = "http://127.0.0.1:8081", folder = "../../target/shots", ...only] = process.argv.slice(2);
const { chromium } = await import(process.env.PGW_PLAYWRIGHT ?? "playwright-core");
const PAGES = { overview: "/", devices: "/devices", proxies: "/proxies", map: "/map", connections: "/connections", firewall: "/firewall", journal: "/journal", settings: "/settings/about", config: "/settings/config", users: "/settings/users", tokens: "/settings/tokens", webhooks: "/settings/webhooks" };
const wanted = Object.entries(PAGES).filter(([name]) => only.length === 0 || only.includes(name));

mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.PGW_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-quic"] });
for (const colorScheme of ["light", "dark"]) {
  for (const width of [1280, 360]) {
    const context = await browser.newContext({ viewport: { width, height: width === 360 ? 760 : 860 }, colorScheme, locale: "en-GB", hasTouch: width === 360, isMobile: width === 360 });
    const page = await context.newPage();
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && !message.text().includes("401") && console.log(colorScheme, width, message.text()));
    page.on("pageerror", (error) => console.log(colorScheme, width, page.url(), String(error)));
    await page.goto(url);
    await page.getByLabel("Name").waitFor();
    if (only.length === 0 || only.includes("login")) await page.screenshot({ path: `${folder}/login-${width}-${colorScheme}.png` });
    await page.getByLabel("Name").fill("admin");
    await page.getByLabel("Password", { exact: true }).fill("correct horse battery");
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.getByRole("heading", { level: 1 }).waitFor();
    for (const [name, path] of wanted) {
      await page.goto(url + path);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.waitForTimeout(1200);
      await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png`, fullPage: name !== "devices" });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) console.log(`${name} ${width}: ${wide} px too wide`);
    }
    await context.close();
  }
}
await browser.close();
