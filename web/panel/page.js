// @ts-check
/** The panel as a page of its own; `?prompt=<prompt_id>` opens it on one prompt, and back and forward work. */
import { Panel } from "./panel.js";

const host = /** @type {HTMLElement} */ (document.getElementById("panel"));
const asked = () => new URLSearchParams(window.location.search).get("prompt");
let going = true;

const panel = new Panel(host, {
  base: new URL("..", window.location.href.split(/[?#]/)[0]).href,
  prompt: asked(),
  onOpen: (prompt) => {
    if (going || prompt === asked()) return;
    const url = new URL(window.location.href);
    url.search = prompt === null ? "" : new URLSearchParams({ prompt }).toString();
    window.history.pushState(null, "", url);
  },
});
going = false;

window.addEventListener("popstate", () => {
  going = true;
  const prompt = asked();
  if (prompt !== null) panel.open(prompt, null);
  else if (panel.stack?.length) panel.tab(panel.base);
  going = false;
});
