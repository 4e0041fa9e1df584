// What the browser scripts share: Chromium as the machine has it, and what it may not do.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export async function launch() {
  const executablePath = process.env.CHROMIUM ?? CHROMIUM.find(existsSync);
  // As root, Chromium has no sandbox; it only ever visits the engine under test.
  const args = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"];
  return chromium.launch({ executablePath, args });
}

// Everything that goes wrong on a page, or leaves its origin. A 503 of the page
// itself is an error to the console; it is what we promise.
export function watch(page, origin, alsoExpected = /^$/) {
  const wrong = [];
  page.on("console", (message) => {
    const expected =
      /the server responded with a status of 503/.test(message.text()) ||
      alsoExpected.test(message.text()) ||
      // The app's own: the page brings its icon along.
      message.location().url.endsWith("/favicon.ico");
    if (["error", "warning"].includes(message.type()) && !expected) wrong.push(message.text());
  });
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => {
    const address = request.url();
    if (!address.startsWith(origin) && !address.startsWith("data:")) wrong.push(`asked ${address}`);
  });
  return wrong;
}
