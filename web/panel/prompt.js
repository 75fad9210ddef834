// @ts-check
/** One prompt: its nodes over time and as a table, what it made, what it cost, and what went wrong. */
import { h, replace, styled } from "./dom.js";
import { bytes, duration, figure, isPicture, moment, nameOf, short, UNKNOWN } from "./format.js";
import { S } from "./strings.js";
import { timeline } from "./timeline.js";
import { whyOf } from "./why.js";

const NEWS_MS = 400;
const MOST_OUTPUTS = 60;
const MOST_REFUSED = 60;
const ROWS_A_FRAME = 200;
/** What has ended in a way that can be held against others. */
const ENDED = ["success", "error", "interrupted", "abandoned", "refused"];

/**
 * The editor that the panel stands beside.
 * @typedef {object} Canvas
 * @property {(prompt: any, nodes: any[]) => { open: boolean, name: string | null, show: (() => Promise<void>) | null }} place
 * @property {(id: string) => void} select
 */

/** @type {Record<string, (one: any, other: any) => number>} */
const ORDERS = {
  order: (one, other) => one.place - other.place,
  time: (one, other) => (other.duration_seconds ?? -1) - (one.duration_seconds ?? -1),
  memory: (one, other) => (other.vram_used_peak_bytes ?? -1) - (one.vram_used_peak_bytes ?? -1),
  class: (one, other) => String(one.class_type).localeCompare(String(other.class_type)),
};

export class PromptView {
  /**
   * @param {import("./panel.js").Shared} shared
   * @param {string} id
   * @param {number | null} run
   */
  constructor(shared, id, run) {
    this.shared = shared;
    this.id = id;
    this.run = run;
    this.title = short(id, 24);
    this.sorted = "order";
    /** @type {string | null} */
    this.selected = null;
    /** @type {any} */
    this.prompt = null;
    /** @type {any[]} */
    this.nodes = [];
    /** @type {any} */
    this.samples = null;
    /** @type {any} */
    this.contract = null;
    /** @type {any} */
    this.why = null;
    this.body = h("div", null, h("p", { class: "muted" }, S.loading));
    this.element = h("section", { class: "view prompt" }, this.body);
    this.news = 0;
    this.wantsFocus = false;
    this.table = h("div", null);
    this.stopListening = shared.live.listen((_kind, data) => {
      if (data?.prompt_id === this.id && this.run === null) this.later();
      else if (data?.prompt_id === this.id && this.prompt && !this.prompt.ended_at) this.later();
    });
    this.load();
  }

  show() {}
  hide() {}

  destroy() {
    this.stopListening();
    window.clearTimeout(this.news);
  }

  /** The heading, as soon as it is there. */
  focus() {
    const heading = /** @type {HTMLElement | null} */ (this.element.querySelector("h2"));
    this.wantsFocus = heading === null;
    heading?.focus();
  }

  later() {
    if (!this.news) this.news = window.setTimeout(() => ((this.news = 0), this.load()), NEWS_MS);
  }

  /** @param {string} path */
  path(path) {
    const run = this.run === null ? "" : `?run=${this.run}`;
    return `/prompts/${encodeURIComponent(this.id)}${path}${run}`;
  }

  async load() {
    const { api } = this.shared;
    try {
      const [prompt, nodes, samples] = await Promise.all([
        api.json(this.path("")),
        api.json(this.path("/nodes")),
        api.json(this.path("/samples")).catch(() => null),
      ]);
      this.why = ENDED.includes(prompt.status) ? await api.json(this.path("/why")).catch(() => null) : null;
      this.contract = prompt.batch ? await api.json(this.path("/contract")).catch(() => null) : null;
      this.prompt = prompt;
      this.nodes = nodes.items.map((/** @type {any} */ node, /** @type {number} */ place) => ({ ...node, place }));
      this.samples = samples;
      this.draw();
    } catch (error) {
      const gone = /** @type {any} */ (error)?.status === 404 && /** @type {any} */ (error)?.type === "not_found";
      replace(this.body, gone ? h("p", null, S.gone) : this.shared.trouble(error),
        " ", h("button", { on: { click: () => this.load() } }, S.retry));
    }
  }

  draw() {
    const { prompt } = this;
    const why = whyOf(this.why);
    const notes = prompt.notes.map((/** @type {string} */ note) => h("p", { class: "note" }, short(note, 2000)));
    const warnings = prompt.fallback_notes.map((/** @type {string} */ note) => h("p", { class: "warning" }, short(note, 2000)));
    replace(this.body,
      h("h2", { tabindex: -1 }, this.shared.status(prompt), " ", h("bdi", null, short(nameOf(prompt), 120))),
      this.actions(),
      prompt.error ? this.error(prompt.error) : null,
      prompt.status === "abandoned" ? this.abandoned() : null,
      why ? this.section(prompt.status === "success" ? S.why : S.whyFailed, why) : null,
      prompt.refused?.length ? this.section(S.refused, this.refused()) : null,
      this.facts(),
      this.nodes.some((node) => node.started_at !== null) ? this.section(S.timeline, this.timeline()) : null,
      this.section(S.nodes, this.table),
      this.section(S.outputs, this.outputs()),
      this.section(S.markers, this.markers()),
      this.section(S.gpu, this.devices()),
      warnings.length ? this.section(S.warnings, warnings) : null,
      notes.length ? this.section(S.notes, notes) : null,
      this.contract ? this.section(S.telemetry, this.badges()) : null,
      prompt.batch ? this.section(S.policy, this.policy(prompt.batch)) : null);
    this.drawTable();
    if (this.wantsFocus) this.focus();
  }

  /** @param {string} title @param {any} content */
  section(title, content) {
    return h("section", { class: "part", "aria-label": title }, h("h3", null, title), content);
  }

  actions() {
    const ended = Boolean(this.prompt.ended_at) || !["queued", "running"].includes(this.prompt.status);
    const copied = h("span", { role: "status", class: "muted" });
    const chosen = this.shared.compared;
    const other = chosen && chosen.id !== this.id;
    return h("p", { class: "actions" },
      h("button", { on: { click: () => this.copy(copied) } }, S.copy), " ",
      h("button", { title: other ? S.compareWith : "", on: { click: () => (other ? this.shared.compare(chosen, this.prompt) : this.choose(copied)) } }, S.compare), " ",
      ended ? h("button", { class: "danger", on: { click: () => this.shared.remove(this.prompt) } }, S.remove) : null, " ", copied);
  }

  /** @param {Element} says */
  choose(says) {
    this.shared.compared = { id: this.id, run: this.prompt.run_number };
    says.textContent = S.compareChosen;
  }

  /** @param {Element} says */
  async copy(says) {
    const text = JSON.stringify({ prompt: this.prompt, nodes: this.nodes.map(({ place, ...node }) => node), samples: this.samples }, null, 2);
    try {
      await navigator.clipboard.writeText(text);
      says.textContent = S.copied;
    } catch {
      says.textContent = S.copyFailed;
    }
  }

  /** @param {any} error */
  error(error) {
    const at = error.node_id;
    return h("div", { class: "failure", role: "alert" },
      h("strong", null, short(error.exception_type || S.error, 200)), " ",
      at === null ? null : h("span", null, `${S.inNode} `, this.nodeLink(at, error.class_type)),
      h("pre", null, error.message));
  }

  /** Where a prompt was when its process ended, and when that was known last. */
  abandoned() {
    const { current_node: node, last_seen_at: seen } = this.prompt;
    return h("div", { class: "failure" },
      h("p", null, this.prompt.started_at ? S.processEnded : S.neverBegan,
        node ? h("span", null, `, ${S.inNode} `, this.nodeLink(node.node_id, node.title || node.class_type)) : null,
        node?.max ? `, ${S.inStep} ${node.value ?? 0} ${S.of} ${node.max}` : null, "."),
      seen ? h("p", { class: "muted" }, `${S.lastSeen} ${moment(seen)}`) : null);
  }

  /** @param {string} id @param {string | null} name */
  nodeLink(id, name) {
    const text = `${short(name || id, 80)} (${short(id, 40)})`;
    return h("button", { class: "link", title: this.shared.canvas ? S.showOnCanvas : null, on: { click: () => this.select(id) } }, text);
  }

  facts() {
    const { prompt } = this;
    const { total, executed, cached } = prompt.node_counts;
    /** @type {[string, any][]} */
    const facts = [
      [S.duration, duration(prompt.duration_seconds)],
      [S.wait, duration(prompt.queue_wait_seconds)],
      [S.queuedAt, moment(prompt.queued_at)],
      [S.started, moment(prompt.started_at)],
      [S.nodes, `${total}: ${executed} ${S.executed}, ${cached} ${S.cached}`],
      [S.server, prompt.instance?.hostname ?? UNKNOWN],
      [S.id, h("code", null, prompt.prompt_id)],
      prompt.run_number > 1 ? [S.run, prompt.run_number] : ["", null],
    ];
    return pairs(facts.filter(([name]) => name));
  }

  timeline() {
    const { drawn, peak, ticks, total } = timeline(this.prompt, this.nodes, this.samples, {
      label: S.timelineOf, selected: this.selected, onNode: (id) => this.select(id),
    });
    const shown = labels(ticks, total);
    return h("div", { class: "drawn" }, peak ? h("p", { class: "muted" }, `${S.vram}: ${S.peak} ${peak}`) : null, drawn,
      h("div", { class: "muted axis" }, shown.map(([at, text]) => styled(h("span", null, text), { left: `${(at / total) * 100}%` }))));
  }

  /** @param {string} id */
  select(id) {
    this.selected = id;
    this.point(id);
    for (const bar of this.element.querySelectorAll("[data-node]")) bar.classList.toggle("selected", bar.getAttribute("data-node") === id);
  }

  /** Select a node in the editor, where its workflow is the one that is open; else say which it is in. @param {string} id */
  point(id) {
    const { canvas } = this.shared;
    const place = canvas?.place(this.prompt, this.nodes);
    if (!canvas || !place) return;
    if (place.open) return canvas.select(id);
    const { name, show } = place;
    const opened = () => show?.().then(() => canvas.select(id), (/** @type {any} */ error) => this.shared.say(`${S.notOpened}: ${error?.message ?? error}`));
    this.shared.say(name ? `${S.isIn} “${short(name, 60)}”.` : S.isElsewhere, show ? { text: S.openIt, act: opened } : null);
  }

  drawTable() {
    const nodes = [...this.nodes].sort(ORDERS[this.sorted]);
    const heads = /** @type {[string, string][]} */ ([["order", S.order], ["class", S.class], ["time", S.time], ["memory", S.memory]]);
    const longest = this.nodes.reduce((most, node) => Math.max(most, node.duration_seconds ?? 0), 0);
    replace(this.table, h("table", { class: "nodes" },
      h("thead", null, h("tr", null, heads.map(([name, text]) => h("th", { scope: "col", class: name === "time" || name === "memory" ? "number" : null, "aria-sort": this.sorted === name ? (name === "order" || name === "class" ? "ascending" : "descending") : null },
        h("button", { class: "link", title: `${S.sortBy} ${name === "order" ? S.orderLong : text}`, "aria-label": name === "order" ? S.orderLong : null, on: { click: () => this.sort(name) } }, text))))),
      this.rows(nodes, longest)));
  }

  /**
   * The first rows at once, the others frame by frame: a prompt may have thousands, and nobody sees them yet.
   * @param {any[]} nodes
   * @param {number} longest
   */
  rows(nodes, longest) {
    const body = h("tbody", { on: { click: (/** @type {Event} */ event) => this.clicked(event) } });
    let from = 0;
    const more = () => {
      body.append(...nodes.slice(from, from + ROWS_A_FRAME).map((node) => this.nodeRow(node, longest)));
      from += ROWS_A_FRAME;
      if (from < nodes.length && (from === ROWS_A_FRAME || body.isConnected)) requestAnimationFrame(more);
    };
    more();
    return body;
  }

  /** One listener for all rows: a prompt may have thousands. @param {Event} event */
  clicked(event) {
    const target = /** @type {Element} */ (event.target);
    const id = target.closest("button") && target.closest("tr")?.getAttribute("data-node");
    if (id) this.select(id);
  }

  /** @param {string} name */
  sort(name) {
    this.sorted = name;
    this.drawTable();
    /** @type {HTMLElement | null} */ (this.table.querySelector("th[aria-sort] button"))?.focus();
  }

  /** @param {any} node @param {number} longest */
  nodeRow(node, longest) {
    const plain = (/** @type {string | null} */ text) => (text ?? "").replace(/\s/g, "").toLowerCase();
    const name = node.title && plain(node.title) !== plain(node.class_type) ? `${node.class_type ?? UNKNOWN} – ${node.title}` : node.class_type ?? node.node_id;
    const share = longest && node.duration_seconds ? node.duration_seconds / longest : 0;
    const cell = h("td", { class: "number time" }, node.cached ? S.cached : duration(node.duration_seconds));
    if (share) cell.style.setProperty("--share", share.toFixed(3));
    const kind = [node.cached ? "cached" : "", node.error ? "failed" : "", this.selected === node.node_id ? "selected" : ""].join(" ").trim();
    const row = h("tr", { "data-node": node.node_id, class: kind || null },
      h("td", null, node.place + 1),
      h("td", null, h("button", { class: "link" }, `${short(name, 80)} (${short(node.node_id, 40)})`)),
      cell,
      h("td", { class: "number" }, bytes(node.vram_used_peak_bytes)));
    return row;
  }

  outputs() {
    const { outputs } = this.prompt;
    if (!outputs.length) return h("p", { class: "muted" }, S.noOutputs);
    const shown = outputs.slice(0, MOST_OUTPUTS);
    return h("ul", { class: "outputs" }, shown.map((/** @type {any} */ file) => {
      const url = this.shared.api.view(file);
      const name = `${file.subfolder ? `${file.subfolder}/` : ""}${file.filename}`;
      const picture = isPicture(file);
      return h("li", null, h("a", { href: url, target: "_blank", rel: "noopener noreferrer" },
        picture ? h("img", { alt: short(file.filename, 80), loading: "lazy", src: this.shared.api.view(file, true) }) : h("span", { class: "file", "aria-hidden": "true" }, "▤"),
        h("span", { class: "caption" }, h("bdi", null, short(name, 48)))),
        h("span", { class: "muted" }, `${bytes(file.bytes)}${file.cached ? ` · ${S.cached}` : ""}`));
    }), outputs.length > shown.length ? h("li", { class: "muted" }, `+ ${outputs.length - shown.length}`) : null);
  }

  refused() {
    const { refused } = this.prompt;
    const shown = refused.slice(0, MOST_REFUSED);
    return h("ul", { class: "plain" }, shown.map((/** @type {any} */ one) =>
      h("li", null, h("bdi", null, short(`${one.node_id} (${one.class_type})`, 120)), " ", h("bdi", { class: "muted" }, short(one.reasons.join("; "), 1000)))),
    refused.length > shown.length ? h("li", { class: "muted" }, `+ ${refused.length - shown.length}`) : null);
  }

  markers() {
    const { markers } = this.prompt;
    if (!markers.length) return h("p", { class: "muted" }, S.noMarkers);
    return h("ul", { class: "plain" }, markers.map((/** @type {any} */ one) =>
      h("li", null, h("code", null, short(one.path ?? UNKNOWN, 200)), ` ${one.status}`, one.written_at ? ` · ${moment(one.written_at)}` : "")));
  }

  devices() {
    const rows = this.prompt.devices.map((/** @type {any} */ one) => {
      const delta = one.vram_free_before_bytes !== null && one.vram_free_after_bytes !== null ? one.vram_free_after_bytes - one.vram_free_before_bytes : null;
      const kind = delta === null || Math.abs(delta) < 1024 * 1024 ? "same" : delta < 0 ? "taken" : "freed";
      return h("div", { class: "device" }, h("h4", null, short(one.name ?? S.never, 80)), pairs([
        [S.freeBefore, bytes(one.vram_free_before_bytes)],
        [S.freeAfter, bytes(one.vram_free_after_bytes)],
        [S.freeChange, h("span", { class: `delta ${kind}` }, bytes(delta))],
        [S.peakOfCard, bytes(one.vram_used_peak_bytes)],
        [S.utilization, figure(one.utilization_percent_mean, "%")],
        [S.temperature, figure(one.temperature_celsius_max, "°C")],
        [S.power, figure(one.power_watts_mean, "W")],
      ]));
    });
    return rows.length ? rows : h("p", { class: "muted" }, S.noDevice);
  }

  badges() {
    const told = this.contract;
    const shown = Object.entries(S.badges).map(([name, label]) => {
      const value = told[name];
      const unit = name.endsWith("Seconds") && value !== null ? " s" : "";
      const text = name === "ExecutionSuccessAt" ? moment(value) : value === null || value === undefined ? UNKNOWN : `${value}${unit}`;
      return h("span", { class: "badge" }, h("span", { class: "muted" }, `${label} `), text);
    });
    return h("p", { class: "badges" }, shown);
  }

  /** @param {any} batch */
  policy(batch) {
    const facts = /** @type {[string, any][]} */ (Object.entries(batch.policy ?? {}).map(([name, value]) => [short(name.replaceAll("_", " "), 60), short(String(value), 60)]));
    return h("div", { class: "card" }, h("p", { class: "muted" }, S.policyOf, ` ${short(batch.run_id ?? "", 60)} ${short(batch.scene_id ?? "", 60)}`), pairs(facts));
  }
}

/**
 * What stands under the ticks of an axis: none at its very end, where it has no room, and none that says the same as the last.
 * @param {number[]} ticks @param {number} total
 * @returns {[number, string][]}
 */
function labels(ticks, total) {
  /** @type {[number, string][]} */
  const all = ticks.filter((at) => at / total < 0.88).map((at) => [at, at === 0 ? "0" : duration(at)]);
  return all.filter(([, text], index) => index === 0 || text !== all[index - 1][1]);
}

/** @param {[string, any][]} facts */
function pairs(facts) {
  return h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

/** Two prompts beside each other, node by node. */
export class CompareView {
  /**
   * @param {import("./panel.js").Shared} shared
   * @param {{ id: string, run: number | null }} one
   * @param {{ id: string, run: number | null }} other
   */
  constructor(shared, one, other) {
    this.shared = shared;
    this.title = S.comparing;
    this.body = h("div", null, h("p", { class: "muted" }, S.loading));
    this.element = h("section", { class: "view compare" }, h("h2", { tabindex: -1 }, S.comparing), this.body);
    this.load([one, other]);
  }

  show() {}
  hide() {}
  destroy() {}
  focus() {
    /** @type {HTMLElement | null} */ (this.element.querySelector("h2"))?.focus();
  }

  /** @param {{ id: string, run: number | null }[]} both */
  async load(both) {
    const { api } = this.shared;
    const path = (/** @type {any} */ one, /** @type {string} */ more) => `/prompts/${encodeURIComponent(one.id)}${more}${one.run === null ? "" : `?run=${one.run}`}`;
    try {
      const prompts = await Promise.all(both.map((one) => api.json(path(one, ""))));
      const nodes = await Promise.all(both.map((one) => api.json(path(one, "/nodes")).then((told) => told.items)));
      this.draw(prompts, nodes);
    } catch (error) {
      replace(this.body, this.shared.trouble(error));
    }
  }

  /** @param {any[]} prompts @param {any[][]} nodes */
  draw(prompts, nodes) {
    const [one, other] = prompts;
    const peak = (/** @type {any} */ prompt) => prompt.devices[0]?.vram_used_peak_bytes ?? null;
    /** @type {[string, any, any][]} */
    const rows = [
      [S.status, this.shared.status(one), this.shared.status(other)],
      [S.started, moment(one.started_at), moment(other.started_at)],
      [S.duration, duration(one.duration_seconds), beside(one.duration_seconds, other.duration_seconds, duration)],
      [S.wait, duration(one.queue_wait_seconds), duration(other.queue_wait_seconds)],
      [S.memory, bytes(peak(one)), beside(peak(one), peak(other), bytes)],
    ];
    const seen = new Map(nodes[1].map((node) => [node.node_id, node]));
    const ids = new Set([...nodes[0].map((node) => node.node_id), ...seen.keys()]);
    const first = new Map(nodes[0].map((node) => [node.node_id, node]));
    for (const id of ids) {
      const [left, right] = [first.get(id), seen.get(id)];
      const text = (/** @type {any} */ node) => (node === undefined ? UNKNOWN : node.cached ? S.cached : duration(node.duration_seconds));
      rows.push([short(`${(left ?? right).class_type ?? ""} (${id})`, 60), text(left),
        right && !right.cached && left && !left.cached ? beside(left.duration_seconds, right.duration_seconds, duration) : text(right)]);
    }
    replace(this.body, h("table", { class: "nodes" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, ""), prompts.map((prompt) => h("th", { scope: "col", class: "number" }, short(nameOf(prompt), 40))))),
      h("tbody", null, rows.map(([name, left, right]) => h("tr", null, h("th", { scope: "row" }, name), h("td", { class: "number" }, left), h("td", { class: "number" }, right))))));
  }
}

/** A difference below this is said of no two figures: it is of the clock, not of the work. @type {Map<any, number>} */
const LEAST = new Map([[duration, 0.05]]);

/**
 * The second of two figures, and how many percent it is above or below the first.
 * @param {number | null} one
 * @param {number | null} other
 * @param {(value: number | null) => string} told
 */
function beside(one, other, told) {
  if (!one || other === null || other === undefined) return told(other);
  if (Math.abs(other - one) < (LEAST.get(told) ?? 0)) return told(other);
  const percent = Math.round((other / one - 1) * 100);
  return h("span", null, told(other), " ", h("span", { class: percent > 0 ? "delta taken" : percent < 0 ? "delta freed" : "muted" }, `${percent > 0 ? "+" : percent < 0 ? "\u2212" : ""}${Math.abs(percent)} %`));
}

