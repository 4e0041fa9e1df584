// A person who presses "Update now" in one of the examples, and asks again where nothing is new.
//
// example.mjs <origin>: says one JSON object at the end.
import { launch, watch } from "./browser.mjs";

const [origin] = process.argv.slice(2);
const ENDS = ["updated", "rolled-back", "refused", "unknown"];
const browser = await launch();
const page = await (await browser.newContext({ locale: "en-GB" })).newPage();
// An example asks the engine before it says what is new, and four of them do at once.
page.setDefaultTimeout(90_000);
// A connection that fails while the app is away is to be expected here, and so is the
// refusal at the end.
const wrong = watch(page, origin, /net::ERR_(CONNECTION|EMPTY_RESPONSE)|a status of 422/);
const phases = [];
await page.exposeFunction("tell", (phase) => {
  if (phases.at(-1) !== phase) phases.push(phase);
});
await page.addInitScript(() => {
  addEventListener("changeover-change", ({ detail }) => window.tell(detail.phase));
});
await page.goto(origin);
const button = page.locator("changeover-update");
await button.getByRole("button", { name: "Update now" }).first().click();
const dialog = button.getByRole("dialog");
await dialog.getByRole("button", { name: "Update now" }).click();
const begun = Date.now();
while (Date.now() - begun < 90_000 && !ENDS.includes(phases.at(-1))) await page.waitForTimeout(50);
const end = await dialog.innerText();
const [after, refused] = await page.evaluate(async () => {
  const endpoint = document.querySelector("changeover-update").getAttribute("endpoint");
  const after = await (await fetch(endpoint)).json();
  const headers = { "Content-Type": "application/json" };
  const ask = async () => {
    const answer = await fetch(endpoint, { method: "POST", headers, body: "{}" });
    return { status: answer.status, text: await answer.text() };
  };
  // The new version is watched for a moment more before its update is over.
  let refused = await ask();
  while (/already under way/.test(refused.text)) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    refused = await ask();
  }
  return [after, refused];
});
await browser.close();
console.log(JSON.stringify({ phases, end, after, refused, wrong }));
