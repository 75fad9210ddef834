// @ts-check
/** The panel: the same in ComfyUI's sidebar and on its own page. */
import { Api, ApiError } from "./api.js";
import { h, replace } from "./dom.js";
import { bounded } from "./frame.js";
import { Health } from "./health.js";
import { HistoryView, keyOf } from "./history.js";
import { Live } from "./live.js";
import { NowView } from "./now.js";
import { CompareView, PromptView } from "./prompt.js";
import { S } from "./strings.js";

const UNDO_MS = 5000;

/**
 * What the views share.
 * @typedef {object} Shared
 * @property {Api} api
 * @property {Live} live
 * @property {(id: string, run?: number | null) => void} openPrompt
 * @property {(one: { id: string, run: number | null }, prompt: any) => void} compare
 * @property {{ id: string, run: number | null } | null} compared
 * @property {(prompt: any) => void} remove
 * @property {(text: string, more?: { text: string, act: () => void } | null) => void} say
 * @property {Set<string>} removing
 * @property {(error: any) => HTMLElement} trouble
 * @property {(prompt: { status: string, refused?: any[] }) => HTMLElement} status
 * @property {() => boolean} visible
 * @property {import("./prompt.js").Canvas | null} canvas
 */

/**
 * @typedef {object} Options
 * @property {string} base where ComfyUI's own routes are, with a slash at the end
 * @property {import("./prompt.js").Canvas | null} [canvas] selects a node in the editor
 * @property {string | null} [prompt] opened at once
 * @property {(prompt: string | null) => void} [onOpen] told which prompt is open, null for none
 */

export class Panel {
  /**
   * @param {HTMLElement} host
   * @param {Options} options
   */
  constructor(host, options) {
    this.host = host;
    this.options = options;
    this.api = new Api(options.base);
    this.live = new Live(this.api);
    this.root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    this.seen = true;
    /** @type {Shared} */
    this.shared = {
      api: this.api,
      live: this.live,
      openPrompt: (id, run = null) => this.open(id, run),
      compare: (one, prompt) => this.push(new CompareView(this.shared, one, { id: prompt.prompt_id, run: prompt.run_number })),
      compared: null,
      remove: (prompt) => this.remove(prompt),
      say: (text, more) => this.say(text, more),
      removing: new Set(),
      trouble,
      status: statusOf,
      visible: () => this.seen && !document.hidden,
      canvas: options.canvas ?? null,
    };
    this.health = new Health(this.shared);
    this.banner = h("div", { class: "banner", role: "status" });
    this.asking = h("div", { class: "banner" });
    this.toasts = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
    this.tabs = h("div", { class: "tabs", role: "tablist", "aria-label": S.title });
    this.main = h("main", { class: "main" });
    const style = h("link", { rel: "stylesheet", href: this.api.url("/panel/panel.css") });
    this.frame = h("div", { class: "frame", on: { keydown: (/** @type {KeyboardEvent} */ event) => this.key(event) } },
      h("div", { class: "head" }, this.tabs, this.health.button), this.health.details, this.banner, this.asking, this.main, this.toasts);
    this.root.replaceChildren(style, this.frame);
    this.unbound = bounded(host, this.frame);
    this.api.onUnauthorized = () => this.askToken();
    this.begin();
  }

  begin() {
    this.now = new NowView(this.shared);
    this.history = new HistoryView(this.shared);
    /** @type {any[]} */
    this.stack = [];
    /** @type {any} */
    this.view = null;
    this.stopListening = this.live.listen((kind, data) => this.heard(kind, data));
    this.onVisible = () => this.breathe();
    document.addEventListener("visibilitychange", this.onVisible);
    this.watching = new IntersectionObserver((entries) => {
      this.seen = entries[entries.length - 1].isIntersecting;
      this.breathe();
    });
    this.watching.observe(this.host);
    this.tab(this.history);
    this.breathe();
    if (this.options.prompt) this.open(this.options.prompt, null);
  }

  /** Take everything down: nothing of it is left running, nor asked of the server. */
  destroy() {
    this.live.pause();
    this.health.pause();
    this.unbound();
    this.stopListening?.();
    document.removeEventListener("visibilitychange", this.onVisible ?? (() => {}));
    this.watching?.disconnect();
    for (const view of [this.now, this.history, ...(this.stack ?? [])]) view?.destroy();
    this.frame.replaceChildren();
  }

  /** While nobody sees the panel, nothing is asked of the server. */
  breathe() {
    for (const one of [this.live, this.health]) {
      if (this.shared.visible()) one.resume();
      else one.pause();
    }
  }

  /** @param {string} kind @param {any} data */
  heard(kind, data) {
    if (kind !== "connection" && kind !== "failed") return;
    const failed = kind === "failed" && data instanceof ApiError ? data : null;
    if (failed?.status === 401) return; // the token is being asked for
    if (kind === "failed" || data === "lost") {
      replace(this.banner, failed?.status ? trouble(failed) : S.lost);
      this.health.lost();
    }
    else if (data === "open") {
      replace(this.banner);
      this.health.ask();
    }
  }

  /** @param {any} view */
  tab(view) {
    for (const one of this.stack ?? []) one.destroy();
    this.stack = [];
    this.base = view;
    this.put(view);
    this.options.onOpen?.(null);
  }

  /** @param {any} view */
  push(view) {
    this.stack?.push(view);
    this.put(view);
    view.focus?.();
  }

  /** @param {string} id @param {number | null} run */
  open(id, run) {
    this.push(new PromptView(this.shared, id, run));
    this.options.onOpen?.(id);
  }

  back() {
    this.stack?.pop()?.destroy();
    const before = this.stack?.[this.stack.length - 1];
    this.put(before ?? this.base);
    this.options.onOpen?.(before instanceof PromptView ? before.id : null);
    (before ?? this.base)?.focus?.();
  }

  /** @param {any} view */
  put(view) {
    this.view?.hide();
    this.view = view;
    replace(this.main, view.element);
    view.show();
    this.drawTabs();
  }

  drawTabs() {
    const tabs = [this.now, this.history].map((view) =>
      h("button", {
        role: "tab", "aria-selected": this.base === view && !this.stack?.length ? "true" : "false", tabindex: this.base === view ? 0 : -1,
        on: { click: () => this.tab(view), keydown: (/** @type {KeyboardEvent} */ event) => this.arrow(event) },
      }, view?.title));
    replace(this.tabs, tabs);
    if (this.stack?.length) this.main.prepend(h("button", { class: "back", on: { click: () => this.back() } }, `‹ ${S.back}`));
  }

  /** @param {KeyboardEvent} event */
  arrow(event) {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    this.tab(this.base === this.now ? this.history : this.now);
    /** @type {HTMLElement | null} */ (this.tabs.querySelector('[tabindex="0"]'))?.focus();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const typing = /** @type {Element} */ (event.composedPath()[0])?.tagName === "INPUT";
    if (event.key === "Escape" && this.stack?.length) this.back();
    else if (event.key === "/" && !typing && this.history && !this.stack?.length) {
      event.preventDefault();
      if (this.base !== this.history) this.tab(this.history);
      this.history.search.focus();
    }
  }

  /** Delete with undo: the server is told after five seconds. @param {any} prompt */
  remove(prompt) {
    const key = keyOf(prompt);
    this.shared.removing.add(key);
    const restore = this.history?.forget(prompt);
    if (this.view instanceof PromptView && this.view.id === prompt.prompt_id) this.back();
    const undo = /** @type {HTMLButtonElement} */ (h("button", { on: { click: () => end(false) } }, S.undo));
    const toast = h("div", { class: "toast" }, `${S.removed} `, undo);
    this.toasts.append(toast);
    const end = async (/** @type {boolean} */ really) => {
      window.clearTimeout(timer);
      toast.remove();
      if (!really) restore?.();
      else {
        try {
          await this.api.json(`/prompts/${encodeURIComponent(prompt.prompt_id)}?run=${prompt.run_number}`, { method: "DELETE" });
        } catch (error) {
          if (/** @type {any} */ (error).status !== 404) restore?.(), this.say(`${S.removeFailed}: ${/** @type {any} */ (error).message}`);
        }
      }
      this.shared.removing.delete(key);
      this.history?.refreshSoon();
    };
    const timer = window.setTimeout(() => end(true), UNDO_MS);
  }

  /** A message for a while, perhaps with something to do. @param {string} text @param {{ text: string, act: () => void } | null} [more] */
  say(text, more = null) {
    const act = () => (toast.remove(), more?.act());
    const toast = h("div", { class: "toast" }, text, more ? [" ", h("button", { on: { click: act } }, more.text)] : null);
    this.toasts.append(toast);
    window.setTimeout(() => toast.remove(), UNDO_MS);
  }

  askToken() {
    if (this.asking.querySelector("form")) return;
    const field = /** @type {HTMLInputElement} */ (h("input", { type: "password", autocomplete: "off", "aria-label": S.token, required: true }));
    const known = Boolean(this.api.headers().Authorization);
    replace(this.asking, h("form", { on: { submit: (/** @type {Event} */ event) => {
      event.preventDefault();
      this.api.useToken(field.value);
      replace(this.asking);
      this.live.pause();
      this.health.pause();
      this.breathe();
      this.history?.reload();
      if (this.view instanceof PromptView) this.view.load();
    } } }, h("p", null, known ? S.tokenWrong : S.tokenNeeded), field, " ", h("button", null, S.tokenUse)));
  }
}

/** A prompt's status in words and a shape, not only a colour. @param {{ status: string, refused?: any[] }} prompt */
function statusOf({ status, refused }) {
  const known = /** @type {Record<string, string>} */ (S.statuses)[status];
  const count = refused?.length ?? 0;
  const sign = /** @type {Record<string, string>} */ (S.signs)[count ? "partly" : status] ?? "?";
  const words = count ? `${known ?? status}, ${count} ${count === 1 ? S.outputRefused : S.outputsRefused}` : known ?? status;
  return h("span", { class: `status ${count ? "partly " : ""}${known ? status : "other"}` },
    h("span", { "aria-hidden": "true", class: "sign" }, sign), words);
}

/** What went wrong, in place. @param {any} error */
function trouble(error) {
  const status = error instanceof ApiError ? error.status : -1;
  const text = status === 0 ? S.lost : status === 401 ? S.tokenNeeded : status === 503 ? `${S.storeAway}: ${error.message}`
    : status === 404 ? (error.type === "not_found" ? S.missingRoute : S.noRecorder) : String(error?.message ?? error);
  return h("span", { class: "trouble" }, text);
}
