// @ts-check
/** The running prompt, the queue, and live figures with a minute back. */
import { h, replace, styled, svg } from "./dom.js";
import { bytes, duration, figure, milliseconds, nameOf, short } from "./format.js";
import { S } from "./strings.js";

const MINUTE = 60;
const IDLE_TICKS = 5;
const PATIENCE_MS = 5000;
const SPARK_WIDTH = 240;
const SPARK_HEIGHT = 36;

export class NowView {
  /** @param {import("./panel.js").Shared} shared */
  constructor(shared) {
    this.shared = shared;
    this.title = S.now;
    this.prompt = h("div", { class: "card" });
    this.queue = h("p", { class: "muted" });
    this.figures = h("div", { class: "gauges" });
    this.asOf = h("p", { class: "muted as-of", role: "status" });
    this.warnings = h("div", null);
    this.element = h("section", { class: "view now" }, this.prompt, this.queue, this.asOf, this.figures, this.warnings);
    /** When the figures that are shown were told; null before there are any. @type {Date | null} */
    this.told = null;
    this.ticks = 0;
    /** @type {Map<string, number[]>} */
    this.past = new Map();
    this.timer = 0;
    this.asking = false;
    this.stopListening = shared.live.listen(() => this.draw());
  }

  show() {
    this.draw();
    this.ask();
    this.timer = window.setInterval(() => this.tick(), 1000);
  }

  hide() {
    window.clearInterval(this.timer);
    this.timer = 0;
  }

  destroy() {
    this.hide();
    this.stopListening();
  }

  /** Once a second while the tab is visible; figures are asked for each time while a prompt runs, else every five seconds. */
  tick() {
    if (document.hidden || !this.shared.visible()) return;
    this.ticks += 1;
    const runs = this.shared.live.running();
    if (runs) this.draw();
    if (runs || this.ticks % IDLE_TICKS === 0) this.ask();
  }

  async ask() {
    if (this.asking) return;
    this.asking = true;
    try {
      this.gauges(await this.shared.api.json("/gpu", { signal: AbortSignal.timeout(PATIENCE_MS) }));
      this.told = new Date();
      replace(this.asOf);
    } catch (error) {
      const late = /** @type {any} */ (error)?.name === "TimeoutError";
      replace(this.asOf, late || /** @type {any} */ (error)?.status === 0 ? S.noFigures : this.shared.trouble(error), this.told ? ` ${S.asOf} ${this.told.toLocaleTimeString()}.` : null);
    } finally {
      this.asking = false;
    }
    this.figures.classList.toggle("stale", this.asOf.childNodes.length > 0);
  }

  draw() {
    const { live } = this.shared;
    if (!live.known) {
      replace(this.prompt, h("p", { class: "idle" }, live.connection === "lost" ? S.unknownNow : live.failure ? this.shared.trouble(live.failure) : S.loading));
      replace(this.queue);
      return;
    }
    const prompt = live.running();
    const waiting = live.waiting();
    this.queue.textContent = waiting === "0" ? S.queueEmpty : `${S.queue}: ${waiting}`;
    if (!prompt) {
      replace(this.prompt, h("p", { class: "idle" }, S.idle));
      return;
    }
    const node = prompt.current_node;
    const { total, executed, cached } = prompt.node_counts;
    const left = live.secondsLeft(prompt);
    const began = milliseconds(prompt.started_at);
    replace(
      this.prompt,
      h("h3", { class: "name" },
        this.shared.status({ status: "running" }), " ",
        h("button", { class: "link", on: { click: () => this.shared.openPrompt(prompt.prompt_id) } }, short(nameOf(prompt), 80))),
      total ? progress(S.nodesDone, Math.min(executed + cached, total), total) : null,
      node ? h("p", null, h("span", { class: "muted" }, `${S.node} `), short(node.title || node.class_type || node.node_id, 80)) : null,
      node?.max ? progress(S.step, node.value ?? 0, node.max) : null,
      h("p", { class: "muted" },
        began === null ? null : `${S.running} ${duration(Math.max(0, (Date.now() - began) / 1000))}`,
        left === null ? null : ` · ${S.leftInNode}: ${duration(left)}`),
    );
  }

  /** @param {any} told */
  gauges(told) {
    const cards = [];
    for (const device of told.devices) {
      const used = device.vram_total_bytes !== null && device.vram_free_bytes !== null ? device.vram_total_bytes - device.vram_free_bytes : null;
      const key = `${device.index} ${device.uuid ?? ""}`;
      cards.push(
        h("div", { class: "card gauge" },
          h("h3", null, short(device.name ?? S.gpu, 60)),
          this.line(`${key} vram`, S.vram, used, device.vram_total_bytes, `${bytes(used)} / ${bytes(device.vram_total_bytes)}`),
          this.line(`${key} busy`, S.utilization, device.utilization_percent, 100, figure(device.utilization_percent, "%")),
          this.line(`${key} heat`, S.temperature, device.temperature_celsius, 100, figure(device.temperature_celsius, "°C")),
          this.line(`${key} power`, S.power, device.power_watts, null, figure(device.power_watts, "W"))));
    }
    const { ram_total_bytes: total, ram_free_bytes: free } = told.system ?? {};
    if (total) {
      const used = total - (free ?? 0);
      cards.push(h("div", { class: "card gauge" }, h("h3", null, S.system), this.line("ram", S.ram, used, total, `${bytes(used)} / ${bytes(total)}`)));
    }
    replace(this.figures, cards);
    replace(this.warnings, told.fallback_notes.map((/** @type {string} */ note) => h("p", { class: "warning" }, note)));
  }

  /**
   * One figure with the last minute of it. Null where the device never told it.
   * @param {string} key
   * @param {string} label
   * @param {number | null | undefined} value
   * @param {number | null} most
   * @param {string} text
   */
  line(key, label, value, most, text) {
    const past = this.past.get(key) ?? [];
    if (value !== null && value !== undefined) past.push(value);
    if (past.length > MINUTE) past.shift();
    this.past.set(key, past);
    if (!past.length) return null;
    const high = most ?? Math.max(...past, 1);
    const points = past.map((one, index) => `${((index + MINUTE - past.length) / (MINUTE - 1)) * SPARK_WIDTH},${SPARK_HEIGHT - (one / high) * (SPARK_HEIGHT - 2)}`);
    return h("div", { class: "figure" },
      h("span", { class: "label" }, label), h("span", { class: "value" }, text),
      svg("svg", { viewBox: `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`, class: "spark", role: "img", "aria-label": `${label}, ${S.lastMinute}`, preserveAspectRatio: "none" },
        svg("polyline", { points: points.join(" "), class: "curve" })));
  }
}

/**
 * @param {string} label
 * @param {number} value
 * @param {number} most
 */
function progress(label, value, most) {
  const share = Math.max(0, Math.min(1, most ? value / most : 0));
  return h("div", { class: "progress", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": most, "aria-valuenow": value },
    styled(h("div", { class: "filled" }), { width: `${share * 100}%` }),
    h("span", { class: "says" }, `${label} ${value} / ${most}`));
}
