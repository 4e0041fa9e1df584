// A visitor through a whole update: has the app open at a deep address, reloads it into
// the page, watches, and must end at the app again, at the very address.
//
// visit.mjs <origin> <path> [<shots>]: says `ready` once the app is open, and at the end one JSON
// object. Whatever part of a step it sees first is kept as a picture in the folder `shots`.
import { launch, watch } from "./browser.mjs";

const [origin, path, shots] = process.argv.slice(2);
const LIMIT = 120_000;
const browser = await launch();
const page = await browser.newPage();
const wrong = watch(page, origin);
const seen = { phases: [], steps: [], titles: [], announced: [] };
const pictured = new Set();
const note = (list, value) => {
  if (value && list.at(-1) !== value) list.push(value);
};

let response = await page.goto(origin + path);
console.log("ready");
const until = Date.now() + LIMIT;
const isPage = () => "x-changeover" in response.headers();
while (!isPage() && Date.now() < until) {
  await page.waitForTimeout(20);
  response = await page.reload();
}
// From here on nobody helps: the page goes over by itself.
page.on("response", (answer) => {
  if (answer.request().isNavigationRequest()) response = answer;
});
while (isPage() && Date.now() < until) {
  const now = await page
    .evaluate(() => ({
      phase: document.documentElement.dataset.phase,
      step: document.querySelector("#steps [aria-current]")?.firstChild.textContent,
      title: document.title,
      said: document.getElementById("said")?.textContent,
    }))
    .catch(() => ({}));
  note(seen.phases, now.phase);
  note(seen.steps, now.step);
  note(seen.titles, now.title);
  note(seen.announced, now.said);
  if (shots && /\d\s?%/.test(now.step) && !pictured.has(now.phase)) {
    pictured.add(now.phase);
    await page.screenshot({ path: `${shots}/data-${now.phase}.png` }).catch(() => {});
  }
  await page.waitForTimeout(30).catch(() => {});
}
await page.waitForLoadState().catch(() => {});
const end = {
  ...seen,
  wrong,
  url: page.url(),
  page: isPage(),
  version: response.headers()["x-app-version"] ?? null,
  text: (await page.textContent("body")).trim(),
};
await browser.close();
console.log(JSON.stringify(end));
