// A small farm, as an operator would have it: most devices leave, one waits, some are closed.

import { addClient, addMapping, addUser, becomes, nameProxy, rest, until, wish } from "./gateway.mjs";

const PROXIES = { "nl-amsterdam": "squid", "de-frankfurt": "microsocks", "nl-rotterdam": "squid", "de-berlin": "microsocks" };
const DEVICES = ["phone-01", "phone-02", "phone-03", "phone-04", "tablet-01", "tablet-02", "tv-lobby", "console-01"];

export async function makeFarm() {
  await addUser();
  await wish("start pgw-tunneld");
  await wish("upstream squid");
  await wish("upstream microsocks");
  const proxies = [];
  for (const [name, kind] of Object.entries(PROXIES)) proxies.push(await nameProxy(kind, name));
  // Nobody answers there.
  const dead = await rest("POST", "/v1/proxies", { name: "us-denver", scheme: "socks5", host: "203.0.113.22", port: 9 });
  const first = await addClient("phone-00", "10.64.0.11");
  const mappings = [await addMapping(first, proxies[0], 10), await addMapping(first, proxies[1], 20)];
  for (const [at, name] of DEVICES.entries()) {
    const client = await addClient(name, `10.64.0.${20 + at}`);
    mappings.push(await addMapping(client, proxies[at % proxies.length]));
  }
  const closed = await addClient("camera-yard", "10.64.0.40");
  await addMapping(closed, dead);
  await addClient("box-07", "10.64.0.41");
  const office = await rest("POST", "/v1/tunnel-clients", { name: "office-pc" });
  const tunnel = { tunnel_client_id: office.id, protocol: "tcp", local_host: "127.0.0.1" };
  const desk = await rest("POST", "/v1/tunnels", { ...tunnel, name: "office desktop", local_port: 3389 });
  await rest("POST", "/v1/tunnels", { ...tunnel, name: "office shell", local_port: 22, verify: false });
  await rest("POST", "/v1/webhooks", { name: "on-call", url: "http://127.0.0.1:9/pgw", kinds: ["client.exit"] });
  for (const mapping of mappings) await becomes(mapping, "APPLIED");
  for (let n = 0; n < 4; n += 1) await wish("carry c1");
  await until("something was counted", async () => (await rest("GET", "/v1/telemetry/traffic?window=1h")).points.some((point) => point.bytes_down > 0));
  return { device: first.id, proxy: proxies[0].id, tunnel: desk.id, office: office.id };
}

