// A small app with an "Update now" button. What updates it is in update.js.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { engine, last, start } from "./update.js";

const version = Number(process.env.VERSION);
const boot = randomUUID();
const next = `acme-node:${version + 1}`;
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8" };
// How the last update did; until we have asked, it may be under way.
let ended = { state: "updating" };

// What the button wants to know: docs/protocol.md. A real app would look for releases.
async function state() {
  if (ended.state === "updating") ended = await last();
  const found = await engine.listImages({ filters: { reference: [next] } });
  return {
    version: String(version),
    boot,
    running: ended.state === "updating",
    last: { ...ended, outcome: ended.state },
    available: found.length > 0 ? { version: String(version + 1) } : null,
  };
}

function answer(response, status, type, body) {
  response.writeHead(status, { "Content-Type": type, "Cache-Control": "no-store" }).end(body);
}

async function handle(request, response) {
  const json = (status, body) => answer(response, status, "application/json", JSON.stringify(body));
  if (request.url === "/update" && request.method === "GET") return json(200, await state());
  if (request.url === "/update" && request.method === "POST") {
    // A form on somebody else's page can't send this. A real app asks who it is as well.
    if (request.headers["content-type"] !== "application/json") return json(403, { detail: "not from here" });
    try {
      await start(next);
    } catch (refused) {
      return json(422, { detail: refused.message });
    }
    ended = { state: "updating" };
    return json(202, {});
  }
  const [, name, ending] = /^\/([a-z]+\.(html|js))$/.exec(request.url === "/" ? "/index.html" : request.url) ?? [];
  if (!name) return json(404, { detail: "not here" });
  return answer(response, 200, TYPES[ending], readFileSync(`/www/${name}`));
}

const server = createServer((request, response) =>
  handle(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  }),
);
server.listen(80);
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
