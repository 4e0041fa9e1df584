// The page in a real browser, in front of everything that is not the new version: proxies
// that find nobody or collect the stream, cached answers, the old version, silence, no
// network, sleep. It goes over to the app when that answers, and never before.
//
// patience.mjs <address of `changeover page --preview`>
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { launch } from "./browser.mjs";

const [preview] = process.argv.slice(2);
const answer = await fetch(`${preview}/updating/`, { headers: { Accept: "text/html" } });
const html = await answer.text();
const policy = answer.headers.get("content-security-policy");
const status = JSON.parse(html.match(/id="status">(.*?)<\/script>/)[1]);
const browser = await launch();

const OURS = { "X-Changeover": status.update, "Cache-Control": "no-store", Connection: "close" };
const page = (request, response) => {
  const json = !/html/.test(request.headers.accept);
  response.writeHead(503, {
    ...OURS,
    "Content-Type": json ? "application/problem+json" : "text/html; charset=utf-8",
    "Content-Security-Policy": policy,
  });
  response.end(json ? JSON.stringify({ changeover: { ...status, to: "told" } }) : html);
};
const tell = (news) => (_, response) => {
  response.writeHead(200, { ...OURS, "Content-Type": "application/json" });
  response.end(JSON.stringify({ ...status, ...news }));
};
const stream = (words) => (_, response) => {
  response.writeHead(200, { ...OURS, "Content-Type": "text/event-stream" });
  response.write(words);
};
const speaking = stream(`event: status\ndata: ${JSON.stringify(status)}\n\n`);
const app = (version, more = {}) => (_, response) => {
  response.writeHead(200, { "Content-Type": "text/html", ...more });
  response.end(`<title>app</title>version ${version}`);
};
const proxy = (code) => (_, response) => {
  response.writeHead(code, { "Content-Type": "text/html" });
  response.end("<h1>nobody</h1>");
};
const silence = () => {};
const nobody = (request) => request.socket.destroy();

// A server whose answers change: `at` has one for the page's own addresses, and one for the rest.
async function serve(at, options = {}) {
  const seen = [];
  const server = createServer((request, response) => {
    if (request.url === "/favicon.ico") return app(0)(request, response);
    seen.push({ method: request.method, url: request.url, mode: request.headers["sec-fetch-mode"] });
    const own = { "/.changeover/status": at.status, "/.changeover/events": at.events }[request.url];
    (own ?? at.rest)(request, response);
  });
  server.keepAliveTimeout = 1;
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const context = await browser.newContext(options);
  const tab = await context.newPage();
  const origin = `http://127.0.0.1:${server.address().port}`;
  // Everybody is answered so from now on, and whoever was here before is gone.
  const all = (how) => {
    Object.assign(at, { status: how, events: how, rest: how });
    server.closeAllConnections();
  };
  return {
    tab, context, seen, at,
    come: (path = "/deep?a=b#c") => tab.goto(origin + path),
    visits: () => seen.filter(({ mode }) => mode === "navigate"),
    all,
    become: (version) => all(app(version)),
    end: async () => {
      await context.close();
      server.closeAllConnections();
      server.close();
    },
  };
}
const isPage = (tab) => tab.evaluate(() => !!document.documentElement.dataset.phase);
const showsUnreachable = (tab) => tab.locator("#unreachable").waitFor({ timeout: 40000 });
async function arrives(visit, version, part = "#c") {
  await visit.tab.waitForFunction((text) => document.body?.innerText === text, `version ${version}`, { timeout: 40000 });
  assert.equal(await visit.tab.evaluate(() => location.pathname + location.search + location.hash), `/deep?a=b${part}`);
}
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

const cases = {
  async "a proxy that finds nobody is not the app"() {
    const visit = await serve({ status: tell(), events: speaking, rest: page });
    await visit.come();
    for (const nothing of [proxy(502), proxy(503), proxy(504), nobody]) {
      visit.all(nothing);
      await wait(3000);
    }
    await showsUnreachable(visit.tab);
    assert.ok(await isPage(visit.tab));
    assert.equal(visit.visits().length, 1);
    visit.become(2);
    await arrives(visit, 2);
    return visit;
  },
  async "a stream that a proxy collects is replaced by asking"() {
    const visit = await serve({ status: tell({ to: "asked" }), events: silence, rest: page });
    await visit.come();
    await visit.tab.locator("dd", { hasText: "asked" }).waitFor({ timeout: 40000 });
    visit.become(2);
    await arrives(visit, 2);
    return visit;
  },
  async "a proxy that hides our own addresses does not hide how far it is"() {
    const visit = await serve({ status: proxy(404), events: proxy(404), rest: page });
    await visit.come();
    await visit.tab.locator("dd", { hasText: "told" }).waitFor({ timeout: 40000 });
    assert.equal(visit.visits().length, 1);
    visit.become(2);
    await arrives(visit, 2);
    return visit;
  },
  async "the old version at the address is not the new one while the update goes on"() {
    const visit = await serve({ status: tell(), events: proxy(502), rest: page });
    await visit.come();
    visit.at.rest = app(1);
    await wait(6000);
    assert.ok(await isPage(visit.tab));
    visit.become(2);
    await arrives(visit, 2);
    return visit;
  },
  async "the version before is not shown from the cache"() {
    const visit = await serve({ rest: app(1, { "Cache-Control": "max-age=3600" }) });
    await visit.come();
    Object.assign(visit.at, { status: tell(), events: speaking, rest: page });
    await visit.tab.reload();
    assert.ok(await isPage(visit.tab));
    visit.become(2);
    await arrives(visit, 2);
    return visit;
  },
  async "a server that says nothing for a while is waited for"() {
    const visit = await serve({ status: tell(), events: speaking, rest: page });
    await visit.come();
    visit.all(silence);
    await wait(10000);
    assert.ok(await isPage(visit.tab));
    assert.equal(visit.visits().length, 1);
    visit.become(2);
    await arrives(visit, 2);
    return visit;
  },
  async "without a network it says so, and goes on when there is one"() {
    const visit = await serve({ status: tell(), events: proxy(502), rest: page });
    await visit.come();
    await visit.context.setOffline(true);
    await showsUnreachable(visit.tab);
    visit.become(2);
    await visit.context.setOffline(false);
    await arrives(visit, 2);
    return visit;
  },
  async "a laptop that slept asks at once"() {
    const visit = await serve({ status: tell(), events: speaking, rest: page });
    await visit.tab.clock.install();
    await visit.come();
    await wait(500);
    const before = visit.seen.length;
    // As when the lid is closed: the stream is dead, and nobody says so.
    await visit.tab.clock.fastForward("02:00");
    for (let second = 0; second < 15 && visit.seen.length === before; second++) await wait(1000);
    assert.ok(visit.seen.length > before, "it has asked");
    assert.ok(await isPage(visit.tab));
    return visit;
  },
  async "who says app to a script and page to a browser doesn't make it flash"() {
    const fickle = (request, response) =>
      (request.headers["sec-fetch-mode"] === "navigate" ? page : app(2))(request, response);
    const visit = await serve({ status: app(2), events: proxy(404), rest: fickle });
    await visit.come();
    await wait(9000);
    const { length } = visit.visits();
    assert.ok(length >= 2 && length <= 6, `${length} visits in 9 s`);
    return visit;
  },
  async "without a script the page is asked for again, until it is the app"() {
    const visit = await serve({ rest: page }, { javaScriptEnabled: false });
    await visit.come("/deep?a=b");
    const again = async (times) => {
      for (let second = 0; second < 40 && visit.visits().length < times; second++) await wait(1000);
      assert.ok(visit.visits().length >= times, `${visit.visits().length} visits, and not ${times}`);
    };
    await again(2);
    visit.become(2);
    await visit.tab.getByText("version 2").waitFor({ timeout: 40000 });
    assert.ok(visit.tab.url().endsWith("/deep?a=b"), visit.tab.url());
    return visit;
  },
  async "without a script, a part of the page is left by a press"() {
    const visit = await serve({ rest: page }, { javaScriptEnabled: false });
    await visit.come("/deep?a=b#c");
    await visit.tab.getByRole("link", { name: "Try now" }).click();
    visit.become(2);
    await visit.tab.getByText("version 2").waitFor({ timeout: 40000 });
    assert.ok(visit.tab.url().endsWith("/deep?a=b"), visit.tab.url());
    return visit;
  },
  async "a form is not sent twice"() {
    const visit = await serve({ rest: (_, response) => {
      response.writeHead(200, { "Content-Type": "text/html" });
      response.end('<form method="post" action="/deep?a=b#c"><button>send</button></form>');
    } });
    await visit.come();
    // What the page says to those who have sent something.
    const sent = html.replace(/(id="sent" class="note") hidden/, "$1");
    assert.notEqual(sent, html);
    visit.at.status = tell();
    visit.at.events = speaking;
    visit.at.rest = (request, response) => {
      response.writeHead(503, { ...OURS, "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy });
      response.end(sent);
    };
    await visit.tab.click("button");
    await visit.tab.locator("#sent").waitFor();
    visit.become(2);
    // With the part of the page it would only be scrolled to.
    await arrives(visit, 2, "");
    assert.equal(visit.seen.filter(({ method }) => method === "POST").length, 1);
    return visit;
  },
};
let failed = 0;
await Promise.all(
  Object.entries(cases).map(([name, run]) =>
    run().then(
      (visit) => visit.end(),
      (error) => {
        failed++;
        console.error(`${name}: ${error.message}`);
      },
    ),
  ),
);
await browser.close();
console.log(`${Object.keys(cases).length} cases, ${failed} failed`);
process.exit(failed ? 1 : 0);
