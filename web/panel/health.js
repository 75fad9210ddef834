// @ts-check
/** How the recorder is, in the panel's head: a word and a shape, and on a click what is wrong and what to do. */
import { h, replace } from "./dom.js";
import { moment, short } from "./format.js";
import { S } from "./strings.js";

const EVERY_MS = 30000;
const MOST = 50;

export class Health {
  /** @param {import("./panel.js").Shared} shared */
  constructor(shared) {
    this.shared = shared;
    this.timer = 0;
    this.asked = 0;
    this.details = h("div", { class: "problems", id: "run-recorder-problems", hidden: true });
    this.button = h("button", { class: "health", "aria-expanded": "false", "aria-controls": "run-recorder-problems", on: { click: () => this.toggle() } });
    this.draw("unknown", S.healthUnknown, []);
  }

  /** Ask now, and now and then while somebody looks. */
  resume() {
    if (this.timer) return;
    this.ask();
    this.timer = window.setInterval(() => this.ask(), EVERY_MS);
  }

  pause() {
    window.clearInterval(this.timer);
    this.timer = 0;
  }

  async ask() {
    const asked = (this.asked += 1);
    try {
      const told = await this.shared.api.json("/health");
      if (asked === this.asked) this.show(told);
    } catch (error) {
      if (asked === this.asked) this.draw("unknown", S.healthUnknown, [this.shared.trouble(error)]);
    }
  }

  /** Nobody answers any more. */
  lost() {
    this.asked += 1;
    this.draw("unknown", S.healthUnknown, [h("p", null, S.lost)]);
  }

  /** @param {{ status: string, problems?: { what: string, hint: string, since: string | null, count: number }[] }} told */
  show({ status, problems }) {
    if (status === "ok") return this.draw("ok", S.healthOk, [h("p", null, S.healthOkLong)]);
    const known = problems ?? [];
    const word = known.length ? `${known.length} ${known.length === 1 ? S.problem : S.problems}` : S.healthDegraded;
    const lines = known.slice(0, MOST).map(({ what, hint, since, count }) => h("li", null,
      h("strong", null, short(what, 120)), " ", h("bdi", null, short(hint, 1000)),
      h("span", { class: "muted" }, ` ${S.since} ${moment(since)}${count > 1 ? `, ${count} ${S.times}` : ""}`)));
    this.draw("degraded", word, [lines.length ? h("ul", { class: "plain" }, lines) : h("p", null, S.healthDegradedLong)]);
  }

  /** @param {"ok" | "degraded" | "unknown"} kind @param {string} word @param {HTMLElement[]} details */
  draw(kind, word, details) {
    this.button.className = `health ${kind}`;
    replace(this.button, h("span", { "aria-hidden": "true", class: "sign" }, S.healthSigns[kind]), ` ${word}`);
    replace(this.details, details);
  }

  toggle() {
    this.details.hidden = !this.details.hidden;
    this.button.setAttribute("aria-expanded", String(!this.details.hidden));
    if (!this.details.hidden) this.ask();
  }
}
