// The client's decisions, without a browser: what an app, a page and the proxies between
// answer, and what is made of it. Time runs a hundred times as fast.
//
// client.mjs <changeover.js>
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

const FAST = 100;
const [realNow, realTimeout] = [Date.now.bind(Date), setTimeout];
const begun = realNow();
Date.now = () => begun + (realNow() - begun) * FAST;
globalThis.setTimeout = (work, ms, ...args) => realTimeout(work, ms / FAST, ...args);
Object.assign(globalThis, {
  document: { baseURI: "http://app.test/", hidden: true, addEventListener() {} },
  addEventListener() {},
});
const { Update } = await import(pathToFileURL(process.argv[2]));

const app = (version, boot, more = {}) => Response.json({ version, boot, ...more });
const page = (phase, update = "u1") =>
  Response.json(
    { changeover: { update, phase, steps: [], from: "1", to: "2", elapsed_seconds: 1 } },
    { status: 503, headers: { "X-Changeover": update } },
  );
const proxy = () => new Response("<h1>502</h1>", { status: 502 });
const gone = () => {
  throw new TypeError("failed to fetch");
};
const offer = { available: { version: "2" } };

// Presses yes; `answers` are given one after the other, the last one for ever.
// `before` come first, when the app is asked what is new.
async function press(answers, { post = () => new Response(null, { status: 202 }), reloads = [], old = offer, before = [], first = () => app("1", "a", old) } = {}) {
  const kept = new Map();
  const storage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
  const seen = { posts: [], phases: [], asked: 0, kept };
  let pressed = false;
  const fetch = async (address, { method = "GET", body, cache, signal } = {}) => {
    assert.equal(address, "http://app.test/update");
    if (method === "POST") {
      pressed = true;
      assert.ok(kept.size, "kept before it is sent");
      seen.posts.push(JSON.parse(body));
      return post();
    }
    assert.equal(cache, "no-store");
    if (!pressed) return (before.shift() ?? first)(signal);
    const next = answers[Math.min(seen.asked++, answers.length - 1)];
    return next(signal);
  };
  const make = () => {
    const update = new Update({ fetch, storage });
    update.addEventListener("change", ({ detail }) => {
      if (seen.phases.at(-1) !== detail.phase) seen.phases.push(detail.phase);
      seen.long ||= detail.long;
    });
    return update;
  };
  let update = make();
  await update.check();
  assert.equal(update.state.phase, "available");
  assert.equal(seen.posts.length, 0, "a look starts nothing");
  let end = update.start();
  for (const at of reloads) {
    while (seen.asked < at) await new Promise((resolve) => realTimeout(resolve, 1));
    update.stop();
    update = make();
    end = update.check();
  }
  seen.state = await Promise.race([end, new Promise((resolve) => realTimeout(() => resolve(update.state), 9000))]);
  update.stop();
  assert.equal(seen.posts.length, 1, "one yes, one POST");
  return seen;
}

const old = () => app("1", "a");
const next = () => app("2", "b");
const back = () => app("1", "c");
const told = (make, outcome, reason) => async () => {
  const answer = await make().json();
  return Response.json({ ...answer, last: { update: "u1", outcome, reason } });
};
// The same answer, after a while, unless nobody waits for it any more.
const slowly = (make, ms) => (signal) =>
  new Promise((resolve, reject) => {
    setTimeout(() => resolve(make()), ms);
    signal.addEventListener("abort", () => reject(signal.reason));
  });

const cases = {
  async "an app that always takes its time is given it"() {
    const first = slowly(() => app("1", "a", offer), 20000);
    const { state } = await press([old, () => page("updating"), slowly(next, 20000)], { first });
    assert.equal(state.phase, "updated");
  },
  async "an update through page and proxies"() {
    const { state, phases, kept } = await press([old, proxy, gone, () => page("updating"), proxy, () => page("updated"), proxy, next]);
    assert.equal(state.phase, "updated");
    assert.equal(state.to, "2");
    assert.deepEqual(phases, ["available", "starting", "preparing", "updating", "proving", "updated"]);
    assert.equal(kept.size, 0, "nothing is left to be followed");
  },
  async "a proxy that finds nobody for long is no answer"() {
    const { state } = await press([() => page("updating"), ...Array(9).fill(proxy), next]);
    assert.equal(state.phase, "updated");
  },
  async "a new version in an old boot is a cached answer"() {
    const cached = () => app("2", "a");
    const { state, asked } = await press([cached, cached, cached, cached, () => page("updating"), next]);
    assert.equal(state.phase, "updated");
    assert.ok(asked >= 6);
  },
  async "a new version that falls over again is no update"() {
    const { state, phases } = await press([() => page("updating"), next, gone, () => page("rolling-back"), () => page("rolled-back"), back]);
    assert.equal(state.phase, "rolled-back");
    assert.ok(phases.includes("proving") && !phases.includes("updated"), phases.join());
  },
  async "a rollback with its reason"() {
    const { state } = await press([() => page("updating"), () => page("rolling-back"), told(back, "rolled-back", "it exited")]);
    assert.deepEqual([state.phase, state.reason], ["rolled-back", "it exited"]);
  },
  async "a rollback that nobody saw is told after a while"() {
    const { state } = await press([gone, back]);
    assert.equal(state.phase, "rolled-back");
  },
  async "the same tag again is decided by the page's word"() {
    const same = { old: { available: { version: "1" } } };
    const updated = await press([() => page("updating"), () => page("updated"), () => app("1", "b")], same);
    assert.equal(updated.state.phase, "updated");
    const rolled = await press([() => page("updating"), () => page("rolled-back"), back], same);
    assert.equal(rolled.state.phase, "rolled-back");
  },
  async "an app that knows that it is under way is waited for"() {
    const running = () => app("2", "b", { running: true });
    const many = Array(12).fill(running);
    const { state, asked } = await press([() => page("updating"), ...many, told(next, "updated")]);
    assert.equal(state.phase, "updated");
    assert.ok(asked >= 13, `${asked}`);
  },
  async "an outcome from before is none"() {
    const stale = { ...offer, last: { update: "u0", outcome: "rolled-back" } };
    const answer = () => app("1", "a", stale);
    const { state } = await press([answer, answer, () => page("updating"), next], { old: stale });
    assert.equal(state.phase, "updated");
  },
  async "the helper's refusal is told with its reason"() {
    const { state } = await press([old, told(old, "refused", "no redirect")]);
    assert.deepEqual([state.phase, state.reason], ["refused", "no redirect"]);
  },
  async "the app's refusal is told with its reason"() {
    const post = () => Response.json({ detail: "the image is not there" }, { status: 422 });
    const { state, asked } = await press([old], { post });
    assert.deepEqual([state.phase, state.reason, asked], ["refused", "the image is not there", 0]);
  },
  async "an answer that was lost is followed and not asked for again"() {
    const { state } = await press([old, () => page("updating"), next], { post: gone });
    assert.equal(state.phase, "updated");
  },
  async "an app that is slow to answer is asked again, before and after the yes"() {
    const ok = () => app("1", "a", offer);
    const { state, phases } = await press([() => page("updating"), next], { before: [gone, proxy, ok, gone, proxy, ok] });
    assert.equal(state.phase, "updated");
    assert.deepEqual(phases.slice(0, 2), ["available", "starting"]);
  },
  async "an app that doesn't answer at all is told, and nothing is started"() {
    const update = new Update({ fetch: async () => gone(), storage: null });
    assert.equal((await update.check()).phase, "idle");
    const { phase, failed } = await update.start();
    assert.deepEqual([phase, failed], ["available", true]);
  },
  async "what is under way when the app is opened is followed"() {
    const open = (...answers) =>
      new Update({ fetch: async () => (answers.length > 1 ? answers.shift() : answers[0])(), storage: null }).check();
    assert.equal((await open(() => page("updating"), () => page("updated"), next)).phase, "updated");
    assert.equal((await open(() => page("updating"), () => page("rolled-back"), back)).phase, "rolled-back");
  },
  async "what is under way already is followed"() {
    const { state } = await press([() => page("updating"), next], { post: () => new Response("busy", { status: 409 }) });
    assert.equal(state.phase, "updated");
  },
  async "reloads follow and never start"() {
    const { state } = await press([old, old, () => page("updating"), gone, gone, next], { reloads: [1, 3, 5] });
    assert.equal(state.phase, "updated");
  },
  async "signed out by the restart, nobody knows"() {
    const { state } = await press([() => page("updating"), () => new Response("", { status: 401 })]);
    assert.equal(state.phase, "unknown");
  },
  async "it takes long, and is not given up"() {
    const { state, long, kept } = await press([() => page("updating"), gone]);
    assert.equal(state.phase, "updating");
    assert.ok(long && kept.size, "it says so, and goes on");
  },
};
// One that is waited for and never comes must not hang whoever runs this.
realTimeout(() => {
  console.error("not at its end after a minute");
  process.exit(1);
}, 60000);
let failed = 0;
await Promise.all(
  Object.entries(cases).map(([name, run]) =>
    run().catch((error) => {
      failed++;
      console.error(`${name}: ${error.message}`);
    }),
  ),
);
console.log(`${Object.keys(cases).length} cases, ${failed} failed`);
process.exit(failed ? 1 : 0);
