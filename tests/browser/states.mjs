// Every state of the page in a real browser: axe-core finds nothing, the console stays
// clean, nobody else is asked for anything, and a screenshot of each is kept.
//
// states.mjs <address of `changeover page --preview`> <folder for the screenshots>
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { launch, watch } from "./browser.mjs";

const [origin, folder] = process.argv.slice(2);
const STATES = ["preparing", "updating", "slow", "updated", "rolling-back", "rolled-back", "needs-a-person", "sent", "unreachable"];
const LANGUAGES = ["en", "de", "he"];
const OTHER_LANGUAGES = ["ar", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "uk", "zh-Hans"];
const SIZES = {
  desktop: { width: 1280, height: 800 },
  phone: { width: 390, height: 844 },
  watch: { width: 180, height: 200 },
  wall: { width: 3840, height: 2160 },
};
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

mkdirSync(folder, { recursive: true });
const browser = await launch();
const problems = [];
let seen = 0;

async function look({ state, language, size = "desktop", colorScheme = "light", media, more = {}, check = true }) {
  const name = [state, language, size, media ?? colorScheme].join("-");
  const context = await browser.newContext({ viewport: SIZES[size], colorScheme, bypassCSP: true, ...more });
  const page = await context.newPage();
  const wrong = watch(page, origin);
  const path = ["sent", "unreachable"].includes(state) ? "updating" : state;
  const address = `${origin}/${path}/deep/link?changeover-lang=${language}`;
  if (state === "sent") await page.route(address, (route) => route.continue({ method: "POST" }));
  await page.goto(address);
  if (state === "unreachable") {
    // Once the stream has spoken; until then it would say that all is well.
    await page.waitForTimeout(400);
    await page.evaluate(() => { document.getElementById("unreachable").hidden = false; });
  }
  if (media === "print") await page.emulateMedia({ media: "print" });
  await page.waitForTimeout(60);
  const extra = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    lang: document.documentElement.lang,
    title: document.title,
  }));
  if (extra.wide > 0) problems.push(`${name}: ${extra.wide} px too wide`);
  // What the script says of the step is what the server has said, or it would jump.
  const written = await (await fetch(address, { headers: { Accept: "text/html" } })).text();
  const [said, meant] = await page.evaluate((written) => {
    const step = (page) => page.querySelector("#steps [aria-current]")?.firstChild.data;
    return [step(document), step(new DOMParser().parseFromString(written, "text/html"))];
  }, written);
  if (said !== meant) problems.push(`${name}: "${said}" is "${meant}" without the script`);
  if (extra.lang !== language) problems.push(`${name}: the page is in ${extra.lang}`);
  if (!extra.title) problems.push(`${name}: no title`);
  if (check) {
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => axe.run({ resultTypes: ["violations"] }));
    for (const { id, nodes } of violations) {
      problems.push(`${name}: axe ${id}: ${nodes.map((node) => node.html).join(" ")}`);
    }
  }
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage: size !== "watch" });
  problems.push(...wrong.map((what) => `${name}: ${what}`));
  seen++;
  await context.close();
}

for (const state of STATES) {
  for (const language of LANGUAGES) {
    for (const size of ["desktop", "phone"]) {
      for (const colorScheme of ["light", "dark"]) await look({ state, language, size, colorScheme });
    }
  }
}
for (const language of LANGUAGES) await look({ state: "putting-back", language, size: "phone" });
for (const language of OTHER_LANGUAGES) {
  await look({ state: "backing-up", language, size: "phone" });
  await look({ state: "needs-a-person", language, size: "phone" });
}
for (const state of ["updating", "needs-a-person"]) {
  for (const size of ["watch", "wall"]) await look({ state, language: "en", size });
  await look({ state, language: "en", media: "print" });
  await look({ state, language: "en", media: "forced", more: { forcedColors: "active" } });
  await look({ state, language: "en", media: "calm", more: { reducedMotion: "reduce" } });
  await look({ state, language: "he", media: "no-script", more: { javaScriptEnabled: false }, check: false });
}

// Under its own policy (above it is bypassed, for axe), nothing is refused either.
{
  const page = await browser.newPage();
  const wrong = watch(page, origin);
  do {
    await page.goto(`${origin}/live-update/`);
    // From its beginning: at the end of one, the page has no reason to expect another.
  } while (!/^1/.test(await page.title()));
  const said = new Set();
  const until = Date.now() + 9000;
  while (Date.now() < until) {
    said.add(await page.textContent("#said"));
    await page.waitForTimeout(100);
  }
  said.delete("");
  // Steps are announced, seconds are not.
  if (said.size < 3 || said.size > 8) problems.push(`announced in 9 s: ${[...said].join(" | ")}`);
  problems.push(...wrong.map((what) => `live: ${what}`));
}
await browser.close();
// All of them on one sheet, for a person to look at.
const shots = readdirSync(folder).filter((name) => name.endsWith(".png")).sort();
const figure = (name) => `<figure><img src="${name}" alt=""><figcaption>${name.slice(0, -4)}</figcaption></figure>`;
writeFileSync(
  `${folder}/index.html`,
  `<!doctype html><meta charset="utf-8"><title>The page</title>
<style>body{background:#888;font:12px sans-serif}figure{display:inline-block;margin:6px;vertical-align:top}img{height:340px}</style>
${shots.map(figure).join("\n")}\n`,
);
for (const problem of problems) console.error(problem);
console.log(`${seen} screenshots in ${folder}, ${problems.length} problems`);
process.exit(problems.length ? 1 : 0);
