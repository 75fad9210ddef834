// @ts-check
/** Talks to the routes. A token that the server asks for is kept in sessionStorage, and never in a URL. */

const TOKEN = "run-recorder-token";
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15000;

/** What went wrong with a request. `type` is the server's stable word, `unreachable` where nobody answered. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 where nobody answered
   * @param {string} type
   * @param {string} message
   */
  constructor(status, type, message) {
    super(message);
    this.status = status;
    this.type = type;
  }
}

/** @typedef {{ kind: string, data: any }} ServerEvent */
/** @typedef {"connecting" | "open" | "lost" | "unauthorized"} Connection */

export class Api {
  /** @param {string} base where ComfyUI's own routes are, with a slash at the end */
  constructor(base) {
    this.base = base;
    /** @type {() => void} */
    this.onUnauthorized = () => {};
  }

  /** @param {string} path below `/telemetry` */
  url(path) {
    return new URL(`telemetry${path}`, this.base).href;
  }

  /**
   * A file that a prompt saved, or a small picture of it.
   * @param {{ filename: string, subfolder: string, type: string | null }} file
   * @param {boolean} [small]
   */
  view(file, small = false) {
    const url = new URL("view", this.base);
    url.searchParams.set("filename", file.filename);
    url.searchParams.set("subfolder", file.subfolder);
    url.searchParams.set("type", file.type ?? "output");
    if (small) url.searchParams.set("preview", "webp;70");
    return url.href;
  }

  /** @param {string} token */
  useToken(token) {
    sessionStorage.setItem(TOKEN, token);
  }

  /** @returns {Record<string, string>} */
  headers() {
    const token = sessionStorage.getItem(TOKEN);
    return token ? { Authorization: `Bearer ${token}` } : {};
  }

  /**
   * @param {string} path
   * @param {{ method?: string, body?: any, signal?: AbortSignal }} [more]
   * @returns {Promise<any>} the JSON; null for an answer without one
   */
  async json(path, more = {}) {
    const answer = await this.#ask(path, more.method ?? "GET", {}, more.signal, more.body);
    if (answer.status === 204) return null;
    try {
      return await answer.json();
    } catch {
      throw new ApiError(answer.status, "not_json", `${path}: this is no answer of a Run Recorder`);
    }
  }

  /**
   * @param {string} path
   * @param {string} method
   * @param {Record<string, string>} headers
   * @param {AbortSignal} [signal]
   * @param {any} [body] sent as JSON
   */
  async #ask(path, method, headers, signal, body) {
    let answer;
    try {
      const sent = body === undefined ? {} : { body: JSON.stringify(body) };
      /** @type {Record<string, string>} */
      const kind = body === undefined ? {} : { "Content-Type": "application/json" };
      answer = await fetch(this.url(path), { method, headers: { ...this.headers(), ...kind, ...headers }, signal, cache: "no-store", ...sent });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(0, "unreachable", String(error));
    }
    if (answer.ok) return answer;
    if (answer.status === 401) this.onUnauthorized();
    let told = null;
    try {
      told = (await answer.json()).error;
    } catch {
      // what is no JSON of ours says nothing more than its status
    }
    throw new ApiError(answer.status, told?.type ?? "http", told?.message ?? `HTTP ${answer.status}`);
  }

  /**
   * Read the events until `signal` says stop; lost connections are taken up again where they broke off.
   * @param {(event: ServerEvent) => void} onEvent
   * @param {(state: Connection) => void} onState
   * @param {AbortSignal} signal
   * @param {string} [after] the number of the last event that was read
   */
  async events(onEvent, onState, signal, after) {
    let last = after ?? "";
    let pause = FIRST_PAUSE;
    while (!signal.aborted) {
      onState("connecting");
      try {
        const asked = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
        const answer = await this.#ask("/events", "GET", /** @type {Record<string, string>} */ (asked), signal);
        onState("open");
        pause = FIRST_PAUSE;
        for await (const event of parsed(answer.body)) {
          last = event.id || last;
          if (event.kind) onEvent({ kind: event.kind, data: event.data });
        }
      } catch (error) {
        if (signal.aborted) return last;
        if (error instanceof ApiError && (error.status === 401 || error.status === 404)) {
          onState(error.status === 401 ? "unauthorized" : "lost");
          return last;
        }
      }
      if (signal.aborted) return last;
      onState("lost");
      await sleep(pause, signal);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
    return last;
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal
 */
function sleep(milliseconds, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds, null);
    signal.addEventListener("abort", () => (clearTimeout(timer), done(null)), { once: true });
  });
}

/**
 * Server-sent events of a body, as the standard frames them.
 * @param {ReadableStream<Uint8Array> | null} body
 * @returns {AsyncGenerator<{ kind: string, id: string, data: any }>}
 */
async function* parsed(body) {
  if (body === null) return;
  const reader = body.pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop() ?? "";
      for (const block of blocks) yield one(block);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** @param {string} block */
function one(block) {
  const event = { kind: "", id: "", data: /** @type {any} */ (null) };
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    const [name, value] = [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
    if (name === "event") event.kind = value;
    else if (name === "id") event.id = value;
    else if (name === "data") {
      try {
        event.data = JSON.parse(value);
      } catch {
        event.kind = "";
      }
    }
  }
  return event;
}
