// node dev/gateway.mjs [port] [devices] [proxies]: a played gateway for `npm run dev`, or behind a
// pgw-ui that is told its address as that of the API and of the agent. Password: correct horse battery

import { createServer } from "node:http";
import { answer } from "./calls.mjs";
import { makeWorld } from "./world.mjs";

const [port = "18081", devices = "40", proxies = "12"] = process.argv.slice(2);
const world = makeWorld(Number(devices), Number(proxies));
const PASSWORD = "correct horse battery";

function body(request) {
  return new Promise((done) => {
    let text = "";
    request.on("data", (piece) => (text += piece));
    request.on("end", () => done(text));
  });
}

function stream(url, response) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (event) => response.write(`id: ${event.id}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`);
  response.write(`event: hello\ndata: ${JSON.stringify({ id: world.events.length, gateway: "gw1" })}\n\n`);
  const after = Number(url.searchParams.get("after") ?? world.events.length);
  world.events.filter((event) => event.id > after).forEach(send);
  world.listeners.add(send);
  const beat = setInterval(() => response.write(": still here\n\n"), 15_000);
  response.on("close", () => (clearInterval(beat), world.listeners.delete(send)));
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://gateway");
  url.pathname = url.pathname.replace(/^\/api/, "");
  const text = await body(request);
  const at = `${request.method} ${url.pathname}`;
  const cookie = /pgw_session=(\w+)/.exec(request.headers.cookie ?? "")?.[1];
  const problem = (status, code, detail) => {
    response.writeHead(status, { "content-type": "application/problem+json" });
    response.end(JSON.stringify({ type: "about:blank", status, code, detail }));
  };
  if (at === "POST /v1/login" || at === "POST /v1/setup") {
    if (JSON.parse(text).password !== PASSWORD && at === "POST /v1/login") return problem(401, "wrong_credentials", "Name or password is wrong.");
    const id = Math.random().toString(36).slice(2);
    world.sessions.add(id);
    response.writeHead(200, { "set-cookie": `pgw_session=${id}; HttpOnly; SameSite=Strict; Path=/`, "content-type": "application/json" });
    return response.end('{"name":"admin","role":"admin","kind":"session"}');
  }
  if (at === "POST /dev/expire") {
    world.sessions.clear();
    return response.end();
  }
  if (at === "POST /v1/logout") world.sessions.delete(cookie);
  const open = ["GET /v1/setup", "GET /readyz", "GET /version"].includes(at);
  if (!open && !world.sessions.has(cookie) && !request.headers.authorization) return problem(401, "unauthorized", "Nobody was recognised.");
  if (at === "GET /v1/events") return stream(url, response);
  const json = text !== "" && (request.headers["content-type"] ?? "").includes("json") ? JSON.parse(text) : undefined;
  const [, , list, id] = url.pathname.split("/");
  const thing = world[list]?.get?.(id);
  const match = request.headers["if-match"];
  if (thing && match && match !== "*" && match !== `"${thing.revision}"`) return problem(412, "precondition_failed", "It was changed in the meantime.");
  const told = answer(world, request.method, url, json, text, world.sessions.has(cookie) || Boolean(request.headers.authorization));
  if (told.text !== undefined) {
    response.writeHead(told.status, { "content-type": "text/plain; charset=utf-8" });
    return response.end(told.text);
  }
  response.writeHead(told.status, { "content-type": told.status >= 400 ? "application/problem+json" : "application/json" });
  response.end(told.body === undefined ? "" : JSON.stringify(told.status >= 400 ? { status: told.status, ...told.body } : told.body));
});
server.listen(Number(port), "127.0.0.1", () => console.log(`a played gateway on ${port}`));
