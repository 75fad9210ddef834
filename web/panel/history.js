// @ts-check
/** Prompts of all sessions, newest first. Only the rows that are seen are in the page, however many there are. */
import { h, replace, styled } from "./dom.js";
import { bytes, duration, isPicture, moment, nameOf, short } from "./format.js";
import { S } from "./strings.js";

export const ROW_HEIGHT = 56;
const PAGE = 100;
const AHEAD = 40;
const MARGIN = 6;
const MOST_ROWS = 60;
const MOST_PAGES = 20;
const TYPING_MS = 250;
const NEWS_MS = 300;
/** What changes a row, or brings one. */
const NEWS = ["prompt.queued", "prompt.started", "prompt.named", "prompt.finished", "gap", "loaded"];

/** @param {any} prompt */
export function keyOf(prompt) {
  return `${prompt.run_number} ${prompt.prompt_id}`;
}

/** The highest use of VRAM of any device that ComfyUI ran on; null where it is not known. @param {any} prompt */
export function peakOf(prompt) {
  const known = prompt.devices.map((/** @type {any} */ one) => one.vram_used_peak_bytes).filter((/** @type {any} */ one) => one !== null && one !== undefined);
  return known.length ? Math.max(...known) : null;
}

export class HistoryView {
  /** @param {import("./panel.js").Shared} shared */
  constructor(shared) {
    this.shared = shared;
    this.title = S.history;
    /** @type {any[]} */
    this.items = [];
    /** @type {string | null} */
    this.cursor = null;
    this.complete = false;
    this.loading = false;
    this.refreshing = false;
    this.asked = 0;
    this.chosen = -1;
    /** @type {Map<number, HTMLElement>} */
    this.rows = new Map();
    /** What each row shows, as text. @type {WeakMap<HTMLElement, string>} */
    this.shown = new WeakMap();
    this.search = /** @type {HTMLInputElement} */ (h("input", { type: "search", placeholder: S.search, "aria-label": S.search, maxlength: 200, on: { input: () => this.later() } }));
    this.status = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": S.status, on: { change: () => this.reload() } },
      h("option", { value: "" }, S.anyStatus),
      Object.entries(S.statuses).map(([value, text]) => h("option", { value }, text))));
    this.space = h("div", { class: "space" });
    this.list = h("div", { class: "list", role: "listbox", tabindex: 0, "aria-label": S.history, on: { scroll: () => this.frame(), keydown: (/** @type {KeyboardEvent} */ event) => this.key(event) } }, this.space);
    this.says = h("p", { class: "muted says", role: "status" });
    this.element = h("section", { class: "view history" },
      h("div", { class: "filters" }, this.search, this.status,
        h("button", { on: { click: () => this.clear() } }, S.clear)),
      this.list, this.says);
    this.typing = 0;
    this.news = 0;
    this.framed = false;
    this.resized = new ResizeObserver(() => this.frame());
    this.resized.observe(this.list);
    this.stopListening = shared.live.listen((kind) => {
      if (NEWS.includes(kind)) this.refreshSoon();
    });
    this.reload();
  }

  show() {
    this.frame();
  }

  hide() {}

  destroy() {
    this.stopListening();
    this.resized.disconnect();
    window.clearTimeout(this.typing);
    window.clearTimeout(this.news);
  }

  focus() {
    this.list.focus();
  }

  clear() {
    this.search.value = "";
    this.status.value = "";
    this.reload();
  }

  later() {
    window.clearTimeout(this.typing);
    this.typing = window.setTimeout(() => this.reload(), TYPING_MS);
  }

  /** @param {number} limit @param {string | null} cursor */
  path(limit, cursor) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (this.search.value.trim()) query.set("q", this.search.value.trim());
    if (this.status.value) query.set("status", this.status.value);
    if (cursor) query.set("cursor", cursor);
    return `/prompts?${query}`;
  }

  reload() {
    this.items = [];
    this.cursor = null;
    this.complete = false;
    this.loading = false;
    this.chosen = -1;
    this.asked += 1;
    this.list.scrollTop = 0;
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    return this.more();
  }

  async more() {
    if (this.loading || this.complete) return;
    this.loading = true;
    const asked = this.asked;
    this.says.textContent = S.loading;
    try {
      const page = await this.shared.api.json(this.path(PAGE, this.cursor));
      if (asked !== this.asked) return;
      const known = new Set(this.items.map(keyOf));
      this.items.push(...page.items.filter((/** @type {any} */ one) => !this.shared.removing.has(keyOf(one)) && !known.has(keyOf(one))));
      this.cursor = page.next_cursor;
      this.complete = page.next_cursor === null;
      this.loading = false;
      this.says.textContent = this.verdict();
      this.frame();
    } catch (error) {
      if (asked !== this.asked) return;
      this.loading = false;
      replace(this.says, this.shared.trouble(error), " ", h("button", { on: { click: () => this.more() } }, S.retry));
    }
  }

  filtered() {
    return Boolean(this.search.value.trim() || this.status.value);
  }

  refreshSoon() {
    if (!this.news) this.news = window.setTimeout(() => ((this.news = 0), this.refresh()), NEWS_MS);
  }

  /** Take in what is new, and what has changed: page by page from the newest on, until they reach what is known. */
  async refresh() {
    if (this.loading || this.refreshing) return this.refreshSoon();
    this.refreshing = true;
    const asked = this.asked;
    try {
      const known = new Set(this.items.map(keyOf));
      const found = [];
      let [cursor, joined] = [/** @type {string | null} */ (null), false];
      for (let pages = 0; pages < MOST_PAGES && !joined; pages += 1) {
        const page = await this.shared.api.json(this.path(PAGE, cursor));
        if (asked !== this.asked) return;
        found.push(...page.items);
        cursor = page.next_cursor;
        joined = cursor === null || page.items.some((/** @type {any} */ one) => known.has(keyOf(one)));
      }
      this.join(found, cursor, joined);
    } catch {
      // the connection says so itself, and its return brings us here again
    } finally {
      this.refreshing = false;
    }
  }

  /**
   * Put the newest pages in the place of what is known of their time. Where they don't reach that, they are all there is.
   * @param {any[]} found
   * @param {string | null} cursor where the page after them begins
   * @param {boolean} joined
   */
  join(found, cursor, joined) {
    const [seen, chosen] = [Math.floor(this.list.scrollTop / ROW_HEIGHT), this.items[this.chosen]];
    const [top, offset] = [this.items[seen], this.list.scrollTop - seen * ROW_HEIGHT];
    const fresh = new Map(found.filter((one) => !this.shared.removing.has(keyOf(one))).map((one) => [keyOf(one), one]));
    const last = this.items.reduce((place, one, index) => (fresh.has(keyOf(one)) ? index : place), -1);
    const older = cursor !== null && joined ? this.items.slice(last + 1).filter((one) => !fresh.has(keyOf(one))) : [];
    if (!older.length) [this.cursor, this.complete] = [cursor, cursor === null];
    this.items = [...fresh.values(), ...older];
    this.chosen = chosen ? this.items.findIndex((one) => keyOf(one) === keyOf(chosen)) : -1;
    const place = top && this.list.scrollTop > 0 ? this.items.findIndex((one) => keyOf(one) === keyOf(top)) : -1;
    styled(this.space, { height: `${this.items.length * ROW_HEIGHT}px` });
    if (place >= 0) this.list.scrollTop = place * ROW_HEIGHT + offset;
    this.says.textContent = this.verdict();
    this.frame();
  }

  verdict() {
    if (this.items.length) return this.complete ? S.thatIsAll : "";
    return this.filtered() ? S.noneFound : S.noPrompts;
  }

  /** Take a prompt out of the list. @param {any} prompt @returns {() => void} puts it back where it was */
  forget(prompt) {
    const place = this.items.findIndex((one) => keyOf(one) === keyOf(prompt));
    const after = this.items[place + 1];
    if (place < 0) return () => this.refreshSoon();
    this.items.splice(place, 1);
    this.chosen = Math.min(this.chosen, this.items.length - 1);
    this.frame();
    return () => {
      if (this.items.some((one) => keyOf(one) === keyOf(prompt))) return;
      const now = after ? this.items.findIndex((one) => keyOf(one) === keyOf(after)) : this.items.length;
      if (now < 0) return this.refreshSoon();
      this.items.splice(now, 0, prompt);
      this.frame();
    };
  }

  frame() {
    if (this.framed) return;
    this.framed = true;
    requestAnimationFrame(() => {
      this.framed = false;
      this.draw();
    });
  }

  /** Put the rows that are seen, and a few around them, into the page; and take the others out, never more than MOST_ROWS. */
  draw() {
    const { scrollTop, clientHeight } = this.list;
    const first = Math.max(0, Math.floor(scrollTop / ROW_HEIGHT) - MARGIN);
    const last = Math.min(this.items.length, first + MOST_ROWS, Math.ceil((scrollTop + clientHeight) / ROW_HEIGHT) + MARGIN);
    for (const [index, row] of this.rows) {
      if (index < first || index >= last || this.shown.get(row) !== this.said(index)) {
        row.remove();
        this.rows.delete(index);
      }
    }
    for (let index = last - 1; index >= first; index -= 1) {
      if (!this.rows.has(index)) {
        const row = this.row(this.items[index], index);
        this.rows.set(index, row);
        this.shown.set(row, this.said(index));
        this.space.insertBefore(row, this.rows.get(index + 1) ?? null);
      }
    }
    styled(this.space, { height: `${this.items.length * ROW_HEIGHT}px` });
    if (this.items.length && last + AHEAD > this.items.length) this.more();
  }

  /** All that a row depends on: one that would be the same stays, so that a click on it is not lost. @param {number} index */
  said(index) {
    return `${index === this.chosen} ${this.complete ? this.items.length : -1} ${JSON.stringify(this.items[index])}`;
  }

  /** @param {any} prompt @param {number} index */
  row(prompt, index) {
    const picture = prompt.outputs.find((/** @type {any} */ one) => isPicture(one) && one.subfolder !== "<path>");
    const peak = peakOf(prompt);
    const facts = [
      moment(prompt.queued_at ?? prompt.started_at),
      duration(prompt.duration_seconds),
      prompt.queue_wait_seconds >= 0.1 ? `${S.waited} ${duration(prompt.queue_wait_seconds)}` : null,
      peak === null ? null : `${S.peak} ${bytes(peak)}`,
      short(prompt.prompt_id, 9),
    ].filter(Boolean);
    const row = h("div", {
      class: `row ${prompt.status}`, role: "option", id: `rr-row-${index}`, "aria-selected": index === this.chosen ? "true" : "false",
      "aria-posinset": index + 1, "aria-setsize": this.complete ? this.items.length : -1,
      on: { click: () => this.openRow(index) },
    },
      picture ? h("img", { class: "thumb", alt: "", loading: "lazy", src: this.shared.api.view(picture, true), on: { error: (/** @type {Event} */ event) => /** @type {Element} */ (event.target).classList.add("broken") } }) : h("span", { class: "thumb" }),
      h("div", { class: "what" },
        h("div", { class: "name" }, h("bdi", null, short(nameOf(prompt), 60))),
        h("div", { class: "muted facts" }, facts.join(" · "))),
      this.shared.status(prompt));
    return styled(row, { transform: `translateY(${index * ROW_HEIGHT}px)` });
  }

  /** @param {number} index */
  openRow(index) {
    this.choose(index);
    const prompt = this.items[index];
    if (prompt) this.shared.openPrompt(prompt.prompt_id, prompt.run_number);
  }

  /** @param {number} index */
  choose(index) {
    this.chosen = Math.max(0, Math.min(index, this.items.length - 1));
    const top = this.chosen * ROW_HEIGHT;
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    if (top + ROW_HEIGHT > this.list.scrollTop + this.list.clientHeight) this.list.scrollTop = top + ROW_HEIGHT - this.list.clientHeight;
    this.draw();
    this.list.setAttribute("aria-activedescendant", `rr-row-${this.chosen}`);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const page = Math.max(1, Math.floor(this.list.clientHeight / ROW_HEIGHT) - 1);
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowDown: () => this.choose(this.chosen + 1),
      ArrowUp: () => this.choose(this.chosen - 1),
      PageDown: () => this.choose(this.chosen + page),
      PageUp: () => this.choose(this.chosen - page),
      Home: () => this.choose(0),
      End: () => this.choose(this.items.length - 1),
      Enter: () => this.openRow(this.chosen),
      Delete: () => this.items[this.chosen] && this.shared.remove(this.items[this.chosen]),
    };
    const act = keys[event.key];
    if (!act || !this.items.length) return;
    event.preventDefault();
    act();
  }
}
