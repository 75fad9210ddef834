// @ts-check
/** What runs and waits, kept from events; the server is asked again only where events are missing. */

const PAGE = 200;
const MOST_PAGES = 25;
/** So many prompts, of which events alone are known, are asked for at the same time. */
const LEARNING_AT_ONCE = 4;
/** What tells that a prompt waits or runs; the others may come after its end. */
const OF_OPEN = ["prompt.queued", "prompt.started", "node.started", "node.progress", "node.finished"];

/** @typedef {import("./api.js").ServerEvent} ServerEvent */

/**
 * @typedef {{ prompt_id: string, status: string, workflow_name: string | null, started_at: string | null,
 *   node_counts: { total: number, executed: number, cached: number }, current_node: any }} Running
 */

export class Live {
  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.api = api;
    /** @type {Map<string, any>} */
    this.open = new Map();
    /** Whether more wait than were counted. */
    this.uncounted = false;
    /** Whether `open` is what the server said; false before the first answer, and while it can't be asked. */
    this.known = false;
    /** Why it can't be asked. @type {any} */
    this.failure = null;
    /** @type {import("./api.js").Connection} */
    this.connection = "connecting";
    /** @type {Set<(kind: string, data: any) => void>} */
    this.listeners = new Set();
    /** @type {AbortController | null} */
    this.reading = null;
    this.last = "";
    /**
     * Of each question that is not answered yet, the events that came since it was asked, of all prompts or of one.
     * @type {Set<{ about: string | null, events: ServerEvent[] }>}
     */
    this.unanswered = new Set();
    /** What stands in `open` for prompts that are still to be asked for. @type {Map<string, any>} */
    this.toLearn = new Map();
    this.learning = 0;
    /** How often all was asked for, and of which of these times the answer is in place. */
    this.loads = { asked: 0, put: 0 };
    /** @type {{ key: string, value: number, at: number }[]} */
    this.steps = [];
  }

  /** @param {(kind: string, data: any) => void} listener */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** @param {string} kind @param {any} data */
  #tell(kind, data) {
    for (const listener of [...this.listeners]) listener(kind, data);
  }

  /** Begin, or go on where it was paused. */
  resume() {
    if (this.reading) return;
    const reading = (this.reading = new AbortController());
    this.#load(reading.signal);
    this.#read(reading);
  }

  /** @param {AbortController} reading */
  async #read(reading) {
    const last = await this.api.events(
      (event) => this.#apply(event),
      (state) => {
        this.connection = state;
        if (state === "lost") this.known = false;
        this.#tell("connection", state);
        if (state === "open") this.#load(reading.signal); // what happened before the first event is in no event
      },
      reading.signal,
      this.last,
    );
    this.last = last ?? "";
    if (this.reading === reading) this.reading = null;
  }

  /** While nobody looks, nothing is asked. */
  pause() {
    this.reading?.abort();
    this.reading = null;
    this.toLearn.clear();
  }

  /**
   * Ask, and put the answer in place with the events on top that came meanwhile: it may be older than they are.
   * @template T
   * @param {() => Promise<T>} ask
   * @param {(answer: T) => void} put
   * @param {string | null} [about] the prompt that was asked about; without one, all
   */
  async #asked(ask, put, about = null) {
    const since = { about, events: /** @type {ServerEvent[]} */ ([]) };
    this.unanswered.add(since);
    try {
      put(await ask());
    } finally {
      this.unanswered.delete(since);
    }
    for (const event of withoutEnded(since.events)) this.#update(event);
  }

  /** @param {AbortSignal} signal */
  async #load(signal) {
    const asked = (this.loads.asked += 1);
    try {
      await this.#asked(() => this.#everyOpen(signal), ({ open, uncounted }) => {
        if (asked < this.loads.put) return;
        this.loads.put = asked;
        [this.open, this.uncounted, this.known, this.failure] = [open, uncounted, true, null];
      });
      this.#tell("loaded", null);
    } catch (error) {
      if (signal.aborted) return;
      [this.known, this.failure] = [false, error];
      this.#tell("failed", error);
    }
  }

  /** What waits, then what runs: one that starts in between is in both. @param {AbortSignal} signal */
  async #everyOpen(signal) {
    const open = new Map();
    const take = (/** @type {any} */ page) => {
      for (const prompt of page.items) open.set(prompt.prompt_id, prompt);
      return page.next_cursor;
    };
    let cursor = "";
    for (let pages = 0; cursor !== null && pages < MOST_PAGES; pages += 1) {
      cursor = take(await this.api.json(`/prompts?status=queued&limit=${PAGE}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, { signal }));
    }
    take(await this.api.json(`/prompts?status=running&limit=${PAGE}`, { signal }));
    return { open, uncounted: cursor !== null };
  }

  /** @param {ServerEvent} event */
  #apply(event) {
    const { kind, data } = event;
    if (kind === "gap") {
      if (this.reading) this.#load(this.reading.signal);
    } else if (typeof data?.prompt_id === "string") {
      for (const { about, events } of this.unanswered) if (about === null || about === data.prompt_id) events.push(event);
      this.#update(event);
    } else return;
    this.#tell(kind, data);
  }

  /** Take an event into account; once more is the same as once. @param {ServerEvent} event */
  #update({ kind, data }) {
    const id = data.prompt_id;
    if (kind === "prompt.finished") {
      this.open.delete(id);
      return;
    }
    if (kind === "prompt.named" && this.open.has(id)) Object.assign(this.open.get(id), { workflow_name: data.workflow_name, name: data.workflow_name });
    if (!OF_OPEN.includes(kind)) return;
    if (!this.open.has(id)) this.#learn(id);
    const prompt = this.open.get(id);
    if (kind === "prompt.started") Object.assign(prompt, { status: "running", started_at: data.at });
    if (kind === "node.started") {
      prompt.current_node = { node_id: data.node_id, class_type: data.class_type, title: null, value: null, max: null, at: data.at };
      this.steps = [];
    }
    if (kind === "node.progress") {
      prompt.current_node = { ...prompt.current_node, node_id: data.node_id, class_type: data.class_type, value: data.value, max: data.max };
      this.steps.push({ key: `${id} ${data.node_id}`, value: data.value, at: Date.parse(data.at) });
      if (this.steps.length > 50) this.steps.shift();
    }
    if (kind === "node.finished") prompt.node_counts.executed = Math.max(prompt.node_counts.executed, data.executed ?? 0);
  }

  /** What an event doesn't say of a prompt is asked for once. @param {string} id */
  #learn(id) {
    const blank = { prompt_id: id, status: "queued", workflow_name: null, started_at: null, node_counts: { total: 0, executed: 0, cached: 0 }, current_node: null };
    this.open.set(id, blank);
    this.toLearn.set(id, blank);
    if (this.learning < LEARNING_AT_ONCE) this.#learnAll();
  }

  /** Ask for each that is to be learned, one after the other; not for what has ended or is known by now. */
  async #learnAll() {
    this.learning += 1;
    for (const [id, blank] of this.toLearn) {
      this.toLearn.delete(id);
      if (this.open.get(id) !== blank) continue;
      try {
        await this.#asked(() => this.api.json(`/prompts/${encodeURIComponent(id)}`), (prompt) => {
          const isOpen = prompt.status === "queued" || prompt.status === "running";
          if (!isOpen) this.open.delete(id);
          else if (this.open.has(id)) this.open.set(id, prompt);
        }, id);
      } catch {
        this.open.delete(id); // it may have been erased meanwhile
      }
      this.#tell("learned", { prompt_id: id });
    }
    this.learning -= 1;
  }

  /** The prompt that runs, else null. */
  running() {
    for (const prompt of this.open.values()) if (prompt.status === "running") return prompt;
    return null;
  }

  /** How many wait; with a plus where there are more. */
  waiting() {
    let count = 0;
    for (const prompt of this.open.values()) count += prompt.status === "queued" ? 1 : 0;
    return `${count}${this.uncounted ? "+" : ""}`;
  }

  /**
   * Seconds left in the node that runs, from the pace of its steps; null where there is none.
   * @param {any} prompt
   */
  secondsLeft(prompt) {
    const node = prompt?.current_node;
    const key = `${prompt?.prompt_id} ${node?.node_id}`;
    const steps = this.steps.filter((step) => step.key === key);
    if (!node?.max || steps.length < 2) return null;
    const [first, last] = [steps[0], steps[steps.length - 1]];
    const pace = (last.value - first.value) / (last.at - first.at);
    return pace > 0 && Number.isFinite(pace) ? (node.max - last.value) / pace / 1000 : null;
  }
}

/**
 * Events without those of prompts of which a later one tells the end.
 * @param {ServerEvent[]} events @returns {ServerEvent[]}
 */
function withoutEnded(events) {
  const ended = new Set();
  const kept = [];
  for (const event of [...events].reverse()) {
    if (event.kind === "prompt.finished") ended.add(event.data.prompt_id);
    else if (ended.has(event.data.prompt_id)) continue;
    kept.push(event);
  }
  return kept.reverse();
}
