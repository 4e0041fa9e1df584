// Keeps the page true, and goes over to the app the moment it answers.
//
// The helper tells us by an event stream; where that doesn't get through we ask.
// Its last word sends us to the address itself. If it falls silent instead, both
// our own status address and the visitor's address must be answered by somebody
// else: not by us (we send X-Changeover), and not by a proxy that finds nobody.
"use strict";

(() => {
  const STATUS = "/.changeover/status";
  const EVENTS = "/.changeover/events";
  const FIRST_WORD = 5000; // A proxy that collects the stream lets nothing through.
  const SILENCE = 25000; // The stream says something every ten seconds.
  const READING = 4000; // Whoever was told about a rollback should have the time to read it.
  const SLOW_SECONDS = 60;

  // A page of the operator's own may do without some of them.
  const element = (id) => document.getElementById(id) || document.createElement("div");
  const words = JSON.parse(element("strings").textContent);
  let status = JSON.parse(element("status").textContent);
  let statusAt = Date.now();

  let stream = null;
  let streamFailures = 0;
  let streamNotBefore = 0;
  let heardAt = 0;
  let patience = 0;
  let looking = false;
  let looks = 0;
  let failures = 0;
  let overSince = 0;
  let leftAt = 0;
  let timer = 0;
  // Over how many milliseconds everybody who has this page open should spread.
  let spread = 0;
  let turn = 0;

  // The helper's word that the app answers, one version or the other.
  const isOver = () => status.phase === "updated" || status.phase === "rolled-back";

  // Opens the stream where that makes sense and looks again in a while where it doesn't.
  function follow() {
    clearTimeout(timer);
    if (leftAt) return;
    const now = Date.now();
    const wanted = !document.hidden && !isOver() && status.phase !== "needs-a-person";
    // A browser opens six connections to a server. Tabs in the background leave them to others.
    if (!wanted) closeStream();
    else if (!stream && now >= streamNotBefore) openStream();
    if (!stream) timer = setTimeout(look, pause());
  }

  function openStream() {
    heardAt = Date.now();
    patience = FIRST_WORD;
    stream = new EventSource(EVENTS);
    const hear = (use) => (event) => {
      heardAt = Date.now();
      patience = SILENCE;
      streamFailures = 0;
      use(JSON.parse(event.data));
    };
    stream.addEventListener("status", hear((news) => {
      reached(true);
      show(news);
      if (isOver()) lookInTurn();
      else if (status.phase === "needs-a-person") follow();
    }));
    stream.addEventListener("alive", hear((seconds) => {
      status.elapsed_seconds = seconds;
      statusAt = Date.now();
    }));
    stream.addEventListener("spread", hear((milliseconds) => {
      spread = milliseconds;
    }));
    stream.addEventListener("error", streamFailed);
  }

  function closeStream() {
    if (stream) stream.close();
    stream = null;
  }

  function streamFailed() {
    closeStream();
    streamNotBefore = Date.now() + Math.min(1000 * 2 ** streamFailures++, 30000);
    lookInTurn();
  }

  // All streams end in the same moment; the new version shouldn't meet all of us in the next.
  function lookInTurn() {
    clearTimeout(timer);
    timer = setTimeout(look, isOver() ? turn : Math.random() * spread);
  }

  function pause() {
    const jitter = 0.75 + Math.random() / 2;
    if (isOver()) {
      return Math.max(stillReading(), Math.min(50 * 1.1 ** looks, 2000));
    }
    if (status.phase === "needs-a-person") return 8000 * jitter;
    return (document.hidden ? 5000 : 2000) * jitter;
  }

  const stillReading = () =>
    status.phase === "rolled-back" ? Math.max(0, overSince + READING + turn - Date.now()) : 0;

  // Asks who answers now, and goes over if it is the app.
  async function look() {
    if (looking || leftAt) return;
    looking = true;
    looks++;
    try {
      if (stillReading()) return;
      // Now and then we ask for the status even so: another update may have begun.
      if (!isOver() || looks % 20 === 0) {
        const answer = await ask(STATUS, "GET", "application/json");
        if (isOurs(answer)) {
          show(await answer.json());
          return reached(true);
        }
        if (!isApp(answer)) return reached(false);
      }
      const method = failures % 2 ? "GET" : "HEAD";
      const here = await ask(location.href, method, "text/html,*/*;q=0.8");
      reached(isOurs(here) || isApp(here));
      if (isApp(here)) return leave();
      // A proxy gives us this address but not our own ones: the answer itself tells how far it is.
      if (isOurs(here) && !isOver()) {
        const problem = await ask(location.href, "GET", "application/problem+json");
        if (isOurs(problem)) show((await problem.json()).changeover);
      }
    } catch {
      reached(false);
    } finally {
      looking = false;
      follow();
    }
  }

  async function ask(address, method, accept) {
    const limit = new AbortController();
    const alarm = setTimeout(() => limit.abort(), 8000);
    try {
      return await fetch(address, {
        method,
        headers: { Accept: accept },
        cache: "no-store",
        redirect: "manual",
        signal: limit.signal,
      });
    } catch {
      return null;
    } finally {
      clearTimeout(alarm);
    }
  }

  const isOurs = (answer) => !!answer && answer.headers.has("X-Changeover");

  // A redirect, to a log-in page say, hides its headers; we send none.
  const isApp = (answer) =>
    !!answer &&
    (answer.type === "opaqueredirect" ||
      (!isOurs(answer) && ![502, 503, 504].includes(answer.status)));

  function reached(somebody) {
    failures = somebody ? 0 : failures + 1;
    element("unreachable").hidden = failures < 2;
  }

  // Back to the very address. A reload, unlike a navigation, is never answered
  // from the cache with the version before; but it would send a form again.
  function leave(wait = bounces && Math.min(1000 * 2 ** bounces, 30000)) {
    leftAt = Date.now();
    closeStream();
    // Somebody who says "app" to us and "page" to the browser must not make it flash.
    setTimeout(() => {
      remember([Date.now(), bounces + 1]);
      if (element("sent").hidden) location.reload();
      else location.replace(location.href.split("#")[0]);
    }, wait);
  }

  const bounces = (() => {
    try {
      const [at, count] = JSON.parse(sessionStorage.getItem("changeover"));
      return Date.now() - at < 10000 ? count : 0;
    } catch {
      return 0;
    }
  })();

  function remember(departure) {
    try {
      sessionStorage.setItem("changeover", JSON.stringify(departure));
    } catch {
      // Not allowed here. Then there is no protection from loops.
    }
  }

  function show(news) {
    const was = status;
    status = news;
    statusAt = Date.now();
    if (!isOver()) overSince = 0;
    else if (!overSince) {
      overSince = Date.now();
      turn = Math.random() * spread;
      looks = 0;
    }
    render();
    const now = announcement(status);
    if (now !== announcement(was)) write("said", now);
  }

  // Everything the server rendered, again; what is the same stays untouched.
  function render() {
    const { phase, steps } = status;
    const say = (key) => fill(words[key], { app: status.title });
    const title = say("title." + phase);
    const active = steps.findIndex((step) => step.state === "active");

    document.documentElement.dataset.phase = phase;
    document.title =
      active < 0 ? title : fill(words["progress.tab"], { step: active + 1, steps: steps.length, title });
    write("title", title);
    write("lead", say("lead." + phase));
    const link = element("go").firstElementChild;
    write(link, say(phase === "needs-a-person" ? "go.try" : "go"));

    const [from, to] = element("versions").querySelectorAll("dd");
    write(from, status.from);
    write(to, status.to);
    element("versions").hidden = !status.from || !status.to || status.from === status.to;

    const track = element("track");
    track.setAttribute("aria-valuemax", Math.max(steps.length, 1));
    track.setAttribute("aria-valuenow", steps.filter((step) => step.state === "done").length);
    track.setAttribute("aria-valuetext", current(status));
    children(track, "i", steps, (segment, step) => {
      segment.dataset.state = step.state;
    });
    children(element("steps"), "li", steps, (item, step) => {
      item.dataset.state = step.state;
      if (step.state === "active") item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
      if (item.childNodes.length < 2) item.replaceChildren("", document.createElement("span"));
      item.firstElementChild.className = "unseen";
      write(item.firstChild, part(step, phase));
      write(item.firstElementChild, ` (${words["state." + step.state]})`);
    });
    tick();
  }

  function tick() {
    const underWay = status.phase === "updating" || status.phase === "rolling-back";
    const seconds = status.elapsed_seconds + Math.max(0, Math.floor((Date.now() - statusAt) / 1000));
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(seconds / 60);
    const time =
      minutes < 60
        ? `${minutes}:${two(seconds % 60)}`
        : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
    write("elapsed", fill(words.elapsed, { time }));
    element("elapsed").hidden = !underWay;
    element("slow").hidden = !underWay || seconds <= SLOW_SECONDS;
    // Going over takes a moment; only if nothing comes of it there is a link.
    const since = leftAt || (status.phase === "updated" && overSince);
    element("go").hidden =
      !["rolled-back", "needs-a-person"].includes(status.phase) &&
      !(since && Date.now() - since > 3000);
  }

  // On the way back a step is undone.
  const name = (step, phase) =>
    words[(/^roll/.test(phase) ? "back." : "step.") + step.key] || step.name;

  // With how far it is, where that is known. Said aloud is only which step it is.
  const part = (step, phase) =>
    step.total_bytes === undefined
      ? name(step, phase)
      : fill(words["progress.part"], {
          name: name(step, phase),
          percent: step.percent,
          done: size(step.done_bytes),
          total: size(step.total_bytes),
        });

  // To the letter what the server writes. Intl would say it in other words.
  function size(bytes) {
    const units = words["size.units"].split(" ");
    let tenths = Math.floor(bytes / 1e5);
    for (; tenths >= 10000 && units.length > 1; units.shift()) tenths = Math.floor(tenths / 1000);
    const whole = Math.floor(tenths / 10);
    const number = tenths < 100 ? whole + words["size.point"] + (tenths % 10) : whole;
    return fill(words.size, { number, unit: units[0] });
  }

  function current({ steps, phase }) {
    const index = steps.findIndex((step) => step.state === "active");
    if (index < 0) return "";
    return fill(words["progress.step"], {
      step: index + 1,
      steps: steps.length,
      name: name(steps[index], phase),
    });
  }

  // What a screen reader says aloud: a change of what is going on, or else the step.
  const announcement = (status) => {
    const { phase, title: app } = status;
    const step = phase === "updating" || phase === "rolling-back" ? current(status) : "";
    return step || fill(words["title." + phase], { app });
  };

  const fill = (sentence, values) =>
    sentence.replace(/\{(\w+)\}/g, (_, key) => String(values[key]));

  function write(target, text) {
    if (typeof target === "string") target = element(target);
    if (target && target.textContent !== text) target.textContent = text;
  }

  function children(parent, tag, list, update) {
    while (parent.children.length > list.length) parent.lastElementChild.remove();
    while (parent.children.length < list.length) parent.append(document.createElement(tag));
    list.forEach((entry, index) => update(parent.children[index], entry));
  }

  // Every second: the clock, and whether we fell asleep or the stream did.
  let tickAt = Date.now();
  setInterval(() => {
    const now = Date.now();
    const slept = now - tickAt > 10000;
    tickAt = now;
    tick();
    if (stream && (slept || now - heardAt > patience)) streamFailed();
  }, 1000);

  addEventListener("online", look);
  addEventListener("pageshow", (event) => {
    if (event.persisted) {
      leftAt = 0;
      look();
    }
  });
  document.addEventListener("visibilitychange", () => {
    streamNotBefore = 0;
    if (document.hidden) follow();
    else look();
  });
  element("go").addEventListener("click", (event) => {
    event.preventDefault();
    leave(0);
  });

  if (isOver()) overSince = Date.now();
  render();
  follow();
})();
