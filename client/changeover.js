// "Update now" in the app's own front end: asks, starts by the app's own endpoint, follows
// the app, then the page, then the new version, and says how it ended.
//
// `Update` does it without a user interface, `<changeover-update>` is one. Nothing here
// needs anything but a browser; docs/protocol.md is what it speaks.
//
// An update is begun by one POST after a person's yes, and by nothing else: what is
// under way stands in sessionStorage, so a reload goes on following. Whether a new
// version runs is decided by version and boot id together. The old version has the old
// boot id, whatever else it says.

const EVENTS = "/.changeover/events";
const SILENCE = 25000; // The page's stream says something every ten seconds.
const SETTLE = 4000; // For so long the helper watches a new version that has answered.
const NOT_ONCE = 60000; // An old version that is back for so long was not updated.
const PATIENCE = 600000; // From then on we say that it is taking long.
const AGAIN = [500, 1000, 2000, 4000, 8000]; // When an app that doesn't answer is asked again.

/** Follows one app. Fires `change` whenever `state` is another. */
export class Update extends EventTarget {
  #job = null;
  #stopped = true;
  #away = false;
  #limit = 8000;
  #wake = () => {};
  #state = { phase: "idle" };

  /** `endpoint` is the app's own address; the rest is for special cases. */
  constructor({ endpoint, fetch, storage, patience = PATIENCE, settle = SETTLE } = {}) {
    super();
    this.endpoint = new URL(endpoint ?? "update", document.baseURI).href;
    this.fetch = fetch ?? ((...args) => globalThis.fetch(...args));
    this.storage = storage ?? keep();
    this.patience = patience;
    this.settle = settle;
    for (const event of ["online", "pageshow"]) addEventListener(event, () => this.#wake());
    document.addEventListener("visibilitychange", () => this.#wake());
  }

  /** What is going on: `phase`, and what is known of `from`, `to`, `notes`, `page`, `reason`, `long`. */
  get state() {
    return this.#state;
  }

  /** Whether an update is being followed. */
  get isFollowing() {
    return !!this.#job;
  }

  /** Goes on with what is under way, or else asks the app what is new. Starts nothing. */
  async check() {
    this.#job ??= this.#recall();
    if (this.#job) {
      this.#show({ ...this.#about(), phase: "preparing" });
      return this.follow();
    }
    this.#away = false;
    const answer = await this.#askAgain(AGAIN);
    if (this.#job || this.#away) return this.#state;
    if (answer.kind === "page") return this.follow();
    if (answer.kind !== "app") return this.#state;
    const { version, available } = answer.app;
    this.#known = answer.app;
    if (!available?.version) return this.#show({ phase: "idle", from: version });
    const { version: to, notes, url } = available;
    return this.#show({ phase: "available", from: version, to, notes, url });
  }

  #known = null;

  /** Starts the update. Call it when a person has said yes, and at no other time. */
  async start() {
    if (this.#job) return this.#state;
    const { from, to } = this.#state;
    this.#show({ phase: "starting", from, to });
    const before = await this.#askAgain(AGAIN.slice(0, 3));
    if (before.kind === "page") return this.follow();
    if (before.kind !== "app") return this.#show({ phase: "available", from, to, failed: true });
    const { version, boot, last } = before.app;
    // Kept before it is asked for: a reload in the very moment follows and doesn't ask again.
    this.#remember({ from: { version, boot }, to, before: last?.update ?? null, at: Date.now() });
    const refused = await this.#post({ from: { version, boot }, to });
    if (refused === null) return this.follow();
    this.#forget();
    return this.#show({ phase: "refused", from: version, to, reason: refused });
  }

  /** Follows an update, whoever has started it, to its end. */
  async follow() {
    if (!this.#job) {
      const { version = "", boot = "", last } = this.#known ?? {};
      this.#remember({ from: { version, boot }, before: last?.update ?? null, at: Date.now() });
    }
    if (!this.#stopped) return this.#state;
    this.#stopped = false;
    let looks = 0;
    while (!this.#stopped && this.#job) {
      const answer = await this.#ask();
      if (this.#stopped) break;
      const pause = await this.#judge(answer, looks++);
      if (pause === null) break;
      await this.#sleep(pause);
    }
    this.#stopped = true;
    return this.#state;
  }

  /** Looks away. What is under way goes on, and `check` finds it again. */
  stop() {
    this.#stopped = true;
    this.#away = true;
    this.#wake();
  }

  // How long to wait until the next look; null at the end.
  async #judge(answer, looks) {
    const job = this.#job;
    const jitter = 0.75 + Math.random() / 2;
    const long = Date.now() - job.at > this.patience;
    if (answer.kind === "page") {
      this.#hear(answer.status);
      if (answer.status.phase === "needs-a-person") return 8000 * jitter;
      return (await this.#listen()) ?? 2000 * jitter;
    }
    if (answer.kind === "nobody") {
      // Once the helper has said that the app is there, it is a matter of moments.
      const pause = job.word ? Math.min(50 * 1.2 ** looks, 2000) : Math.min(500 * 1.3 ** looks, 4000);
      return this.#followOn({ unreachable: !job.word && looks > 1, long }, pause * jitter);
    }
    if (answer.kind === "other") {
      // The app, but it doesn't talk to us: signed out by its restart, say.
      if (!job.seen && !job.word) return this.#followOn({ long }, 3000 * jitter);
      job.strange = (job.strange ?? 0) + 1;
      return job.strange > 5 ? this.#end("unknown") : 1000;
    }
    return this.#judgeApp(answer.app, { jitter, long });
  }

  #judgeApp({ version, boot, running, last }, { jitter, long }) {
    const { from, to, before, word, seen } = this.#job;
    const told = last?.update && last.update !== before && !running ? last : null;
    if (boot === from.boot || (!from.boot && !seen)) {
      // Still the old one, even if a cache says another version. It may have been refused.
      if (told && told.outcome !== "updated") return this.#end(told.outcome, { reason: told.reason });
      if (!from.boot) this.#remember({ ...this.#job, from: { version, boot } });
      return this.#followOn({ long }, 1500 * jitter);
    }
    // Another boot. Which one stays is the helper's decision, so it has to stay for a while.
    if (this.#job.now !== boot) this.#remember({ ...this.#job, now: boot, since: Date.now() });
    const stays = Date.now() - this.#job.since;
    if (told) return this.#end(told.outcome, { reason: told.reason, version });
    const back = word === "rolled-back" || this.#job.back;
    // Who came when the page was there already knows no old version: the page's word counts.
    const isNew = from.boot ? version !== from.version || (to === from.version && (word === "updated" || !back)) : !back;
    if (running) {
      this.#show({ ...this.#about(), phase: isNew ? "proving" : "rolling-back", long });
      return 1000 * jitter;
    }
    if (isNew && !(back && version === from.version)) {
      if (stays >= this.settle) return this.#end("updated", { version });
      this.#show({ ...this.#about(), phase: "proving", version, long });
      return Math.min(1000, this.settle - stays + 50);
    }
    // The old version in another boot: gone back to, or restarted for another reason.
    if (back && stays >= 1000) return this.#end("rolled-back", { version });
    if (stays >= NOT_ONCE) return this.#end("rolled-back", { version });
    return this.#followOn({ long }, 1000 * jitter);
  }

  // The page's word. Another update than the one before has a course of its own.
  #hear(status) {
    const job = this.#job;
    if (!job) return;
    const other = job.update && job.update !== status.update;
    const over = status.phase === "updated" || status.phase === "rolled-back";
    this.#remember({
      ...job,
      seen: true,
      from: job.from.boot ? job.from : { ...job.from, version: status.from ?? "" },
      update: status.update,
      to: job.to ?? status.to,
      back: (job.back && !other) || /^roll/.test(status.phase),
      word: over ? status.phase : null,
    });
    const phase = over ? (status.phase === "updated" ? "proving" : "rolling-back") : status.phase;
    this.#show({ ...this.#about(), phase, page: status });
  }

  // The page's event stream, until it ends or falls silent. Says how long to wait then,
  // or null where there is none.
  #listen() {
    if (document.hidden || !globalThis.EventSource) return null;
    return new Promise((resolve) => {
      const stream = new EventSource(new URL(EVENTS, this.endpoint));
      let spread = 0;
      let heard = 0;
      let alarm = 0;
      const done = (pause) => {
        clearTimeout(alarm);
        stream.close();
        this.#wake = () => {};
        resolve(pause);
      };
      const listen = () => {
        clearTimeout(alarm);
        alarm = setTimeout(() => done(0), heard ? SILENCE : 5000);
      };
      const on = (name, use) =>
        stream.addEventListener(name, (event) => {
          heard++;
          listen();
          use(JSON.parse(event.data));
        });
      on("spread", (milliseconds) => (spread = milliseconds));
      on("alive", (seconds) => {
        const { page } = this.#state;
        if (page) this.#show({ ...this.#state, page: { ...page, elapsed_seconds: seconds } });
      });
      on("status", (status) => {
        if (this.#stopped) return done(0);
        this.#hear(status);
        if (this.#job?.word) done(Math.random() * spread);
        else if (status.phase === "needs-a-person") done(8000);
      });
      stream.addEventListener("error", () => done(heard ? Math.random() * spread : null));
      this.#wake = () => done(0);
      listen();
    });
  }

  // Says the same as before, and when to look again.
  #followOn(more, pause) {
    const { phase, page } = this.#state;
    const underWay = ["updating", "rolling-back", "proving", "needs-a-person"].includes(phase);
    this.#show({ ...this.#about(), phase: underWay ? phase : "preparing", page, ...more });
    return pause;
  }

  #about() {
    const { from, to } = this.#job;
    return { from: from.version, to };
  }

  #end(phase, more = {}) {
    const about = this.#about();
    const { page } = this.#state;
    this.#forget();
    this.#show({ ...about, ...(more.version && phase === "updated" ? { to: more.version } : {}), page, ...more, phase });
    return null;
  }

  #show(state) {
    const same = JSON.stringify(state) === JSON.stringify(this.#state);
    this.#state = state;
    if (!same) this.dispatchEvent(new CustomEvent("change", { detail: state }));
    return state;
  }

  // Who answers the endpoint: the page, the app, something else of it, or nobody. Who wasn't
  // given enough time gets more: an app may first have to ask a forge what is new.
  async #ask() {
    const limit = new AbortController();
    const alarm = setTimeout(() => limit.abort(), this.#limit);
    try {
      const answer = await this.fetch(this.endpoint, {
        headers: { Accept: "application/json" },
        cache: "no-store",
        credentials: "same-origin",
        redirect: "manual",
        signal: limit.signal,
      });
      if (answer.headers.has("X-Changeover")) {
        return { kind: "page", status: (await answer.json()).changeover };
      }
      if (answer.status >= 500) return { kind: "nobody" };
      if (!answer.ok) return { kind: "other" };
      const app = await answer.json();
      const good = typeof app?.version === "string" && typeof app?.boot === "string";
      return good ? { kind: "app", app } : { kind: "other" };
    } catch (error) {
      if (limit.signal.aborted) this.#limit = Math.min(2 * this.#limit, 60000);
      return { kind: error instanceof SyntaxError ? "other" : "nobody" };
    } finally {
      clearTimeout(alarm);
    }
  }

  // The same, and once more after each of these pauses as long as nobody answers: an app
  // under load, or one that is just starting, is no app without news.
  async #askAgain(pauses) {
    let answer = await this.#ask();
    for (const pause of pauses) {
      if (answer.kind !== "nobody" || this.#away) break;
      await this.#sleep(pause);
      if (!this.#away) answer = await this.#ask();
    }
    return answer;
  }

  // Null if it was accepted or nobody knows; otherwise why not.
  async #post(body) {
    let answer;
    try {
      answer = await this.fetch(this.endpoint, {
        method: "POST",
        // An address of another origin can't send this one without being allowed to.
        headers: { Accept: "application/json", "Content-Type": "application/json", "X-Requested-With": "changeover" },
        body: JSON.stringify(body),
        credentials: "same-origin",
        redirect: "manual",
      });
    } catch {
      return null;
    }
    // Already under way is what we wanted, too.
    if (answer.ok || answer.status === 409 || answer.headers.has("X-Changeover")) return null;
    const text = await answer.text().catch(() => "");
    try {
      const problem = JSON.parse(text);
      return String(problem.detail ?? problem.title ?? problem.error ?? answer.status);
    } catch {
      return text.length && text.length < 300 && !/^\s*</.test(text) ? text : `${answer.status} ${answer.statusText}`;
    }
  }

  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #remember(job) {
    this.#job = job;
    try {
      this.storage?.setItem("changeover:" + this.endpoint, JSON.stringify(job));
    } catch {
      // Not allowed here. Then a reload forgets, and still starts nothing.
    }
  }

  #recall() {
    try {
      return JSON.parse(this.storage?.getItem("changeover:" + this.endpoint) ?? "null");
    } catch {
      return null;
    }
  }

  #forget() {
    this.#job = null;
    try {
      this.storage?.removeItem("changeover:" + this.endpoint);
    } catch {
      // As above.
    }
  }
}

function keep() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return null;
  }
}

const LANGUAGES = {};

/** Adds languages: `addLanguages(await import("./languages.js"))`, or words of your own. */
export function addLanguages(languages) {
  Object.assign(LANGUAGES, languages.default ?? languages);
}

// The words for somebody who reads this: as the document says, or the browser.
function wordsFor(element) {
  const said = element.closest("[lang]")?.lang;
  for (const tag of [said, ...(said ? [] : navigator.languages)]) {
    const [primary] = (tag ?? "").toLowerCase().replace("iw", "he").split("-");
    const code = Object.keys(LANGUAGES).find((code) => code.toLowerCase().split("-")[0] === primary);
    if (code) return { ...LANGUAGES.en, ...LANGUAGES[code], code };
  }
  return { ...LANGUAGES.en, code: "en" };
}

const STYLE = `
:host { display: block; font: inherit; --accent: var(--changeover-accent, #0f766a);
  --soft: color-mix(in srgb, currentColor 72%, transparent); --line: color-mix(in srgb, currentColor 22%, transparent); }
:host([hidden]), [hidden] { display: none !important; }
.offer { display: flex; flex-wrap: wrap; align-items: center; gap: .6em 1em; }
.offer p { margin: 0; }
button { font: inherit; font-weight: 600; padding: .5em 1.1em; border: .1em solid var(--accent);
  border-radius: var(--changeover-radius, .5em); background: transparent; color: inherit; cursor: pointer; }
button.main { background: var(--accent); color: var(--changeover-on-accent, #fff); }
button:focus-visible { outline: .15em solid currentColor; outline-offset: .15em; }
dialog { box-sizing: border-box; inline-size: min(32em, calc(100vw - 2em)); max-block-size: calc(100vh - 2em); padding: 1.5em;
  border: .1em solid var(--line); border-radius: calc(2 * var(--changeover-radius, .5em)); line-height: 1.5;
  background: var(--changeover-ground, Canvas); color: var(--changeover-ink, CanvasText); overflow-wrap: anywhere; }
dialog::backdrop { background: rgb(0 0 0 / .45); }
h2 { margin: 0 0 .5em; font-size: 1.3em; line-height: 1.25; text-wrap: balance; }
h2:focus { outline: none; }
dialog p { margin: .75em 0 0; }
.versions, .elapsed { color: var(--soft); font-variant-numeric: tabular-nums; }
.notes, .reason { white-space: pre-line; }
.notes { max-block-size: 12em; overflow: auto; }
.reason { padding-inline-start: .8em; border-inline-start: .2em solid var(--line); }
.track { display: flex; gap: .25em; margin-block-start: 1em; }
.track i { flex: 1; block-size: .25em; border-radius: 1em; background: var(--line); }
.track [data-state=done], .track [data-state=active] { background: var(--accent); }
.track [data-state=active] { animation: breathe 2.4s ease-in-out infinite; }
@keyframes breathe { 50% { opacity: .35; } }
.buttons { display: flex; flex-wrap: wrap; gap: .75em; margin-block-start: 1.5em; }
.unseen { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (prefers-reduced-motion: reduce) { .track [data-state=active] { animation: none; opacity: .6; } }
@media (forced-colors: active) { .track i { forced-color-adjust: none; background: GrayText; }
  .track [data-state=done], .track [data-state=active] { background: Highlight; } }
`;

const SHADOW = `
<div class="offer" part="offer" hidden>
  <p part="text" id="text"></p><button type="button" class="main" part="button" id="open"></button>
</div>
<dialog part="dialog" aria-labelledby="title">
  <h2 part="title" id="title" tabindex="-1"></h2>
  <p part="lead" id="lead"></p>
  <p part="versions" class="versions" id="versions"></p>
  <p part="notes" class="notes" id="notes" dir="auto" tabindex="0"></p>
  <p part="more" id="more"><a part="link" rel="noreferrer" target="_blank"></a></p>
  <div part="track" class="track" id="track" role="progressbar" aria-valuemin="0"></div>
  <p part="step" id="step"></p>
  <p part="reason" class="reason" id="reason" dir="auto"></p>
  <p part="note" id="note"></p>
  <div part="buttons" class="buttons">
    <button type="button" class="main" part="button confirm" id="yes"></button>
    <button type="button" class="main" part="button reload" id="reload"></button>
    <button type="button" part="button close" id="no"></button>
  </div>
</dialog>
<p class="unseen" role="status" id="said"></p>`;

let sheet;

/**
 * `<changeover-update endpoint="/api/update" app="Acme Wiki">`.
 *
 * Shows nothing as long as nothing is new. Fires `changeover-change` with the state.
 */
export class ChangeoverUpdate extends (globalThis.HTMLElement ?? class {}) {
  static observedAttributes = ["endpoint", "app", "lang"];

  #update = null;
  #root = null;
  #asking = false;
  #was = "idle";

  /** Replaces `fetch`, for an app that adds a token to each request. Set it before it is connected. */
  fetch = null;

  connectedCallback() {
    if (!this.#root) this.#build();
    const [fetch, endpoint] = [this.fetch ?? undefined, this.getAttribute("endpoint") ?? undefined];
    const number = (name) => (this.hasAttribute(name) ? { [name]: Number(this.getAttribute(name)) } : {});
    this.#update = new Update({ endpoint, fetch, ...number("patience"), ...number("settle") });
    this.#update.addEventListener("change", () => this.#render());
    this.check();
    this.#render();
  }

  disconnectedCallback() {
    this.#update?.stop();
    this.#update = null;
  }

  attributeChangedCallback(name, was, now) {
    if (!this.#update || was === now) return;
    if (name === "endpoint") {
      this.disconnectedCallback();
      this.connectedCallback();
    } else this.#render();
  }

  /** What is going on. */
  get state() {
    return this.#update?.state ?? { phase: "idle" };
  }

  /** Asks the app again whether something is new. Starts nothing. */
  async check() {
    await this.#update?.check();
    return this.state;
  }

  /** Follows an update that somebody else has started. */
  async follow() {
    await this.#update?.follow();
    return this.state;
  }

  /** Opens the question, or what is going on. */
  open() {
    this.#asking ||= this.state.phase === "available";
    this.#render();
    const dialog = this.#root.querySelector("dialog");
    if (!dialog.open) dialog.showModal();
    this.#id("title").focus();
  }

  #build() {
    this.#root = this.attachShadow({ mode: "open" });
    // Neither a style element nor an attribute: an app's policy may allow none.
    sheet ??= new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    this.#root.adoptedStyleSheets = [sheet];
    const template = document.createElement("template");
    template.innerHTML = SHADOW;
    this.#root.append(template.content);
    this.#id("open").addEventListener("click", () => this.open());
    this.#id("yes").addEventListener("click", () => {
      this.#asking = false;
      this.#update?.start();
      this.#id("title").focus();
    });
    this.#id("no").addEventListener("click", () => this.#root.querySelector("dialog").close());
    this.#id("reload").addEventListener("click", () => location.reload());
    this.#root.querySelector("dialog").addEventListener("close", () => {
      this.#asking = false;
      this.#render();
      this.#id("open").focus();
    });
  }

  #id(id) {
    return this.#root.getElementById(id);
  }

  #render() {
    if (!this.#root) return;
    const words = wordsFor(this);
    const state = this.state;
    const { phase, from, to, notes, url, reason, page, long, unreachable, failed } = state;
    const app = this.getAttribute("app") ?? page?.title ?? document.title;
    const say = (key) => fill(words[key] ?? "", { app, from: from ?? "", to: to ?? "" });
    const write = (id, text) => {
      const target = this.#id(id);
      target.hidden = !text;
      if (target.textContent !== (text ?? "")) target.textContent = text ?? "";
    };
    const ends = ["updated", "rolled-back", "refused", "unknown", "needs-a-person"];
    const onPage = ["updating", "rolling-back", "needs-a-person"].includes(phase);
    const title = phase === "available" ? say("client.offer") : onPage ? say("title." + phase) : say("client.title." + phase);

    this.#root.querySelectorAll(".offer, dialog").forEach((part) => {
      part.lang = words.code;
      part.dir = words.dir;
    });
    this.#root.querySelector(".offer").hidden = phase === "idle";
    write("text", title);
    write("open", phase === "available" ? say("client.update") : say("client.show"));
    write("title", title);
    write("lead", phase === "available" ? say("client.ask") : say("client.lead." + phase));
    const both = from && to && from !== to && !["updated", "rolled-back", "refused"].includes(phase);
    write("versions", both ? `\u2068${from}\u2069 → \u2068${to}\u2069` : "");
    write("notes", phase === "available" ? notes : "");
    const link = this.#id("more").firstElementChild;
    const good = phase === "available" && /^https?:/.test(url ?? "");
    this.#id("more").hidden = !good;
    if (good) link.href = url;
    link.textContent = say("client.notes");

    const steps = (onPage && phase !== "needs-a-person" && page?.steps) || [];
    const track = this.#id("track");
    track.hidden = !steps.length;
    track.replaceChildren(
      ...steps.map((step) => {
        const segment = document.createElement("i");
        segment.dataset.state = step.state;
        return segment;
      }),
    );
    const active = steps.findIndex((step) => step.state === "active");
    const name = active < 0 ? "" : (words[(/^roll/.test(phase) ? "back." : "step.") + steps[active].key] ?? steps[active].name);
    const counted = (name) => (active < 0 ? "" : fill(words["progress.step"], { step: active + 1, steps: steps.length, name }));
    const step = counted(name);
    const { percent, done_bytes: done, total_bytes: total } = steps[active] ?? {};
    track.setAttribute("aria-label", words.progress);
    track.setAttribute("aria-valuemax", Math.max(steps.length, 1));
    track.setAttribute("aria-valuenow", steps.filter((step) => step.state === "done").length);
    track.setAttribute("aria-valuetext", step);
    const part = total === undefined ? "" : fill(words["progress.part"], { name, percent, done: size(done, words), total: size(total, words) });
    write("step", part ? counted(part) : step);
    write("reason", reason);
    write("note", unreachable ? words["note.unreachable"] : failed ? say("client.failed") : long ? say("client.long") : "");

    write("yes", phase === "available" ? say("client.update") : "");
    write("reload", phase === "updated" || phase === "unknown" ? say("client.reload") : "");
    write("no", say(phase === "available" ? "client.later" : "client.close"));

    // Aloud: what is going on, and each step; what has been shown before isn't news.
    write("said", phase === "idle" || phase === "available" ? "" : (phase !== "needs-a-person" && step) || title);
    this.#id("said").hidden = false;
    if (phase !== this.#was) {
      this.#was = phase;
      // How it ended is shown to whoever has closed the dialog meanwhile, or reloaded.
      if (ends.includes(phase)) this.open();
    }
    this.dispatchEvent(new CustomEvent("changeover-change", { detail: state, bubbles: true, composed: true }));
  }
}

const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));

// As the page writes it.
function size(bytes, words) {
  const units = words["size.units"].split(" ");
  let tenths = Math.floor(bytes / 1e5);
  for (; tenths >= 10000 && units.length > 1; units.shift()) tenths = Math.floor(tenths / 1000);
  const whole = Math.floor(tenths / 10);
  const number = tenths < 100 ? whole + words["size.point"] + (tenths % 10) : whole;
  return fill(words.size, { number, unit: units[0] });
}

// English. languages.js has the others; both are made from maintenance-ui/strings.*.json.
const ENGLISH = {
  "back.back-up": "Put the data back",
  "back.gate": "Give up on the new version",
  "back.promote-new": "Switch back",
  "back.start-new": "Stop the new version",
  "back.stop-old": "Start the previous version",
  "client.ask": "{app} will be away for a moment while the new version takes its place. If that does not work, the previous one comes back.",
  "client.close": "Close",
  "client.failed": "{app} did not answer. Nothing was started.",
  "client.later": "Not now",
  "client.lead.preparing": "{app} goes on working until it is ready.",
  "client.lead.proving": "Making sure that it keeps working.",
  "client.lead.rolled-back": "The update did not succeed, and the previous version is running again.",
  "client.lead.unknown": "Whether the update succeeded is not known. Reload to see which version it is.",
  "client.long": "This is taking a while, and it is not over yet. You can close this window and look again later.",
  "client.notes": "What is new",
  "client.offer": "Version {to} is available",
  "client.reload": "Reload",
  "client.show": "Show",
  "client.title.preparing": "The new version is being prepared",
  "client.title.proving": "The new version answers",
  "client.title.refused": "The update was not started",
  "client.title.rolled-back": "{app} was not updated",
  "client.title.starting": "Asking for the update",
  "client.title.unknown": "{app} answers again",
  "client.title.updated": "{app} has been updated to {to}",
  "client.update": "Update now",
  "dir": "ltr",
  "lang": "en",
  "note.unreachable": "There is no connection at the moment. Still trying.",
  "progress": "Progress",
  "progress.part": "{name}: {percent}% ({done} of {total})",
  "progress.step": "Step {step} of {steps}: {name}",
  "size": "{number} {unit}",
  "size.point": ".",
  "size.units": "MB GB TB",
  "step.back-up": "Back up the data",
  "step.create-new": "Prepare the new version",
  "step.gate": "Check that it works",
  "step.promote-new": "Switch over",
  "step.start-new": "Start the new version",
  "step.stop-old": "Stop the previous version",
  "title.needs-a-person": "{app} is not available",
  "title.rolling-back": "{app} is going back to its previous version",
  "title.updating": "{app} is being updated"
};
addLanguages({ en: ENGLISH });

if (globalThis.customElements && !customElements.get("changeover-update")) {
  customElements.define("changeover-update", ChangeoverUpdate);
}
