// A person who presses the app's own "Update now", and watches how it ends.
//
// button.mjs <origin> <folder for the screenshots> [reload]: says one JSON object at the end.
// With `reload`, the browser is reloaded while the page answers, and once more at the end.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { launch, watch } from "./browser.mjs";

const [origin, folder, reload] = process.argv.slice(2);
const LIMIT = 90_000;
const ENDS = ["updated", "rolled-back", "refused", "unknown"];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(folder, { recursive: true });
const browser = await launch();
const context = await browser.newContext({ locale: "en-GB", viewport: { width: 900, height: 700 } });
const page = await context.newPage();
page.setDefaultTimeout(60_000);
// A connection that fails while the app is away is to be expected here; nothing else is.
const wrong = watch(page, origin, /net::ERR_(CONNECTION|EMPTY_RESPONSE)/);
const posts = [];
page.on("request", (request) => {
  if (request.method() === "POST") posts.push(`${request.method()} ${request.url()} ${request.postData()}`);
});
const phases = [];
let begun = Date.now();
await page.exposeFunction("tell", (phase) => {
  if (phases.at(-1) !== phase) phases.push(phase);
});
const said = new Set();
await page.exposeFunction("say", (text) => said.add(text));
await page.addInitScript(() => {
  addEventListener("changeover-change", ({ target, detail }) => {
    window.tell(detail.phase);
    window.say(target.shadowRoot.getElementById("said").textContent);
  });
});
const problems = [];
// What was seen until then tells more than where the script stood.
process.on("uncaughtException", async (error) => {
  await page.screenshot({ path: `${folder}/failed.png` }).catch(() => {});
  const text = await page.locator("body").innerText({ timeout: 1000 }).catch(String);
  console.log(JSON.stringify({ error: String(error), at: page.url(), text, phases, posts, wrong, said: [...said] }));
  process.exit(1);
});
async function look(name) {
  await page.screenshot({ path: `${folder}/${name}.png` });
  // The app's policy keeps axe out of the page's own world, so it goes in beside it.
  const session = await context.newCDPSession(page);
  const { result } = await session.send("Runtime.evaluate", {
    expression: `${axe}; axe.run({ resultTypes: ["violations"] }).then(({ violations }) =>
      JSON.stringify(violations.map(({ id, nodes }) => id + ": " + nodes.map((node) => node.html).join(" "))))`,
    awaitPromise: true,
  });
  problems.push(...JSON.parse(result.value ?? "[]").map((problem) => `${name}: ${problem}`));
  await session.detach();
}

await page.goto(origin);
const button = page.locator("changeover-update");
await button.getByRole("button", { name: "Update now" }).first().click();
await page.waitForTimeout(100);
await look("asked");
const dialog = button.getByRole("dialog");
const question = await dialog.innerText();
// No is no: nothing is sent.
await dialog.getByRole("button", { name: "Not now" }).click();
await page.waitForTimeout(300);
const afterNo = posts.length;
await button.getByRole("button", { name: "Update now" }).first().click();
await dialog.getByRole("button", { name: "Update now" }).click();
begun = Date.now();
let reloaded = false;
let followed = false;
while (Date.now() - begun < LIMIT && !ENDS.includes(phases.at(-1))) {
  if (phases.at(-1) === "updating" && !followed) {
    followed = true;
    await look("followed");
    if (reload) {
      reloaded = (await page.reload().catch(() => null))?.headers()["x-changeover"] !== undefined;
    }
  }
  await page.waitForTimeout(50);
}
await page.waitForTimeout(200);
await look("end");
const end = await dialog.innerText();
const focused = await page.evaluate(() => document.activeElement?.shadowRoot?.activeElement?.id);
// What a framework made of the events.
const shown = await page.evaluate(() => document.getElementById("phase")?.textContent ?? null);
const course = [...phases];
await page.reload();
await page.waitForTimeout(1500);
const after = await page.evaluate(() => document.querySelector("changeover-update").state);
const kept = await page.evaluate(() => Object.keys(sessionStorage).filter((key) => key.startsWith("changeover:")));
await browser.close();
console.log(JSON.stringify({
  phases: course, posts, afterNo, question, end, focused, shown, reloaded, after, kept, wrong, problems,
  said: [...said], milliseconds: Date.now() - begun,
}));
