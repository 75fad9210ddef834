// @ts-check
/** What runs and waits, kept from events; the server is asked again only where events are missing. */

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
    /** @type {import("./api.js").Connection} */
    this.connection = "connecting";
    /** @type {Set<(kind: string, data: any) => void>} */
    this.listeners = new Set();
    /** @type {AbortController | null} */
    this.reading = null;
    this.last = "";
    this.wasLost = false;
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
    this.#load(reading.signal).then(async () => {
      if (reading.signal.aborted) return;
      const last = await this.api.events(
        (event) => this.#apply(event),
        (state) => {
          if (state === "lost") this.wasLost = true;
          this.connection = state;
          this.#tell("connection", state);
          if (state === "open" && this.wasLost) {
            this.wasLost = false;
            this.#load(reading.signal);
          }
        },
        reading.signal,
        this.last,
      );
      this.last = last ?? "";
      if (this.reading === reading) this.reading = null;
    });
  }

  /** While nobody looks, nothing is asked. */
  pause() {
    this.reading?.abort();
    this.reading = null;
  }

  /** @param {AbortSignal} signal */
  async #load(signal) {
    try {
      const page = await this.api.json("/prompts?status=queued&status=running&limit=200", { signal });
      this.open = new Map(page.items.map((/** @type {any} */ prompt) => [prompt.prompt_id, prompt]));
      this.#tell("loaded", null);
    } catch (error) {
      if (!signal.aborted) this.#tell("failed", error);
    }
  }

  /** @param {import("./api.js").ServerEvent} event */
  #apply({ kind, data }) {
    if (kind === "gap") {
      if (this.reading) this.#load(this.reading.signal);
      this.#tell(kind, data);
      return;
    }
    const id = data?.prompt_id;
    if (typeof id !== "string") return;
    if (kind === "prompt.finished") this.open.delete(id);
    else if (kind === "prompt.queued" || !this.open.has(id)) this.#learn(id);
    const prompt = this.open.get(id);
    if (prompt && kind === "prompt.started") Object.assign(prompt, { status: "running", started_at: data.at });
    if (prompt && kind === "node.started") {
      prompt.current_node = { node_id: data.node_id, class_type: data.class_type, title: null, value: null, max: null, at: data.at };
      this.steps = [];
    }
    if (prompt && kind === "node.progress") {
      prompt.current_node = { ...prompt.current_node, node_id: data.node_id, class_type: data.class_type, value: data.value, max: data.max };
      this.steps.push({ key: `${id} ${data.node_id}`, value: data.value, at: Date.parse(data.at) });
      if (this.steps.length > 50) this.steps.shift();
    }
    if (prompt && kind === "node.finished" && data.status === "success") prompt.node_counts.executed += 1;
    this.#tell(kind, data);
  }

  /** What an event doesn't say of a prompt is asked for once. @param {string} id */
  async #learn(id) {
    if (this.open.has(id)) return;
    this.open.set(id, { prompt_id: id, status: "queued", workflow_name: null, started_at: null, node_counts: { total: 0, executed: 0, cached: 0 }, current_node: null });
    try {
      const prompt = await this.api.json(`/prompts/${encodeURIComponent(id)}`);
      if (!this.open.has(id)) return;
      if (prompt.status === "queued" || prompt.status === "running") this.open.set(id, prompt);
      this.#tell("learned", { prompt_id: id });
    } catch {
      // it may have been erased meanwhile; its end takes it off the list
    }
  }

  /** The prompt that runs, else null. */
  running() {
    for (const prompt of this.open.values()) if (prompt.status === "running") return prompt;
    return null;
  }

  /** How many wait. */
  waiting() {
    let count = 0;
    for (const prompt of this.open.values()) count += prompt.status === "queued" ? 1 : 0;
    return count;
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
