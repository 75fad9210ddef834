// @ts-check
/** The one script that ComfyUI's page loads: a tab in the sidebar. The panel itself is fetched when it is first opened. */
// @ts-ignore  ComfyUI serves it
import { app } from "../../scripts/app.js";
// @ts-ignore  ComfyUI serves it
import { api } from "../../scripts/api.js";

const base = new URL(api.apiURL("/"), window.location.href).href;
const BADGES = "run-recorder.badges";
const WAIT_SECONDS = 20;
const KEPT = 500;
const NAMELESS = /^Unsaved Workflow( \(\d+\))?$/;

/** @param {string} name */
const load = (name) => import(new URL(`telemetry/panel/${name}`, base).href);

/** A workflow of ComfyUI's page: its path, and the name of its file; null where it has none. @param {any} workflow */
function described(workflow) {
  if (typeof workflow?.path !== "string") return null;
  const name = workflow.filename;
  return { path: workflow.path, name: !name || (workflow.isTemporary && NAMELESS.test(name)) ? null : String(name) };
}

/** The workflow that is open. */
const openNow = () => described(app.extensionManager?.workflow?.activeWorkflow);

/** Which workflow each prompt of this page was queued from. @type {Map<string, { path: string, name: string | null }>} */
const queuedFrom = new Map();

/** What each node of a workflow's last prompt took: its badge's text by the node's id, by the workflow's path. @type {Map<string, Map<string, string>>} */
const figures = new Map();

/**
 * Remember where a prompt comes from, and tell the recorder its name, which the graph doesn't hold.
 * @param {any} id
 * @param {{ path: string, name: string | null } | null} from
 */
async function queued(id, from) {
  if (typeof id !== "string" || !from) return;
  queuedFrom.set(id, from);
  if (queuedFrom.size > KEPT) queuedFrom.delete(/** @type {string} */ (queuedFrom.keys().next().value));
  if (from.name === null) return;
  const { Api } = await load("api.js");
  await new Api(base).json(`/prompts/${encodeURIComponent(id)}/name`, { method: "PUT", body: { name: from.name.slice(0, 200) } });
}

/** Hear of the prompts that this page queues; what goes wrong here is not the prompt's. */
function listen() {
  const queue = api.queuePrompt;
  if (typeof queue !== "function") return;
  api.queuePrompt = async function (/** @type {any[]} */ ...given) {
    let from = null;
    try {
      from = openNow();
    } catch {
      // then nothing is told
    }
    const answer = await queue.apply(this, given);
    queued(answer?.prompt_id, from).catch(() => {});
    return answer;
  };
}

/** The workflow's own graph, whichever of its subgraphs is looked at. */
const graph = () => app.rootGraph ?? app.graph;

/** @param {string} id */
const nodeOf = (id) => graph()?.getNodeById?.(id) ?? graph()?.getNodeById?.(Number(id));

const canvas = {
  /**
   * Whether a prompt's workflow is the one that is open; else what it is called, and how to open it where that can be done.
   * @param {any} prompt
   * @param {any[]} nodes
   * @returns {{ open: boolean, name: string | null, show: (() => Promise<void>) | null }}
   */
  place(prompt, nodes) {
    const [from, now] = [queuedFrom.get(prompt.prompt_id), openNow()];
    const name = from?.name ?? prompt.workflow_name;
    const own = nodes.filter((node) => node.parent_node_id === null && !node.node_id.includes(":"));
    const fits = own.length > 0 && own.every((node) => nodeOf(node.node_id)?.type === node.class_type);
    if (from ? from.path === now?.path : name ? name === now?.name : fits) return { open: true, name, show: null };
    /** @type {any[]} */
    const known = app.extensionManager?.workflow?.workflows ?? [];
    const found = known.find((one) => (from ? one.path === from.path : name && one.path?.startsWith("workflows/") && described(one)?.name === name));
    const show = async () => {
      if (!found.isLoaded) await found.load();
      await app.loadGraphData(found.activeState, true, true, found);
    };
    return { open: false, name, show: found && app.loadGraphData ? show : null };
  },
  /** Select a node, and bring it into view. @param {string} id */
  select(id) {
    const node = nodeOf(id) ?? nodeOf(id.split(":")[0]);
    if (!node || !app.canvas) return;
    app.canvas.selectNode?.(node, false);
    app.canvas.centerOnNode?.(node);
  },
};

/** Read the record of a prompt of this page once it is whole, and write its figures on the nodes. @param {string} id */
async function read(id) {
  if (!app.extensionManager?.setting?.get?.(BADGES)) return;
  try {
    const [{ Api }, { bytes, duration }] = await Promise.all([load("api.js"), load("format.js")]);
    const server = new Api(base);
    const path = `/prompts/${encodeURIComponent(id)}`;
    await server.json(`${path}/wait?timeout=${WAIT_SECONDS}`);
    const { items } = await server.json(`${path}/nodes`);
    const from = queuedFrom.get(id);
    if (!from) return;
    const told = figures.get(from.path) ?? new Map();
    figures.set(from.path, told);
    for (const node of items) {
      if (node.cached || node.duration_seconds === null) continue;
      const peak = node.vram_used_peak_bytes === null ? "" : ` · ${bytes(node.vram_used_peak_bytes)}`;
      told.set(String(node.display_node_id ?? node.node_id), duration(node.duration_seconds) + peak);
    }
    app.graph?.setDirtyCanvas?.(true, true);
  } catch {
    // the canvas goes on without figures; the panel says what is wrong
  }
}

/** What is written on a node: figures of the workflow that it is in, or nothing. @param {any} node */
function badge(node) {
  if (!app.extensionManager?.setting?.get?.(BADGES) || (node.graph && node.graph !== graph())) return "";
  return figures.get(openNow()?.path ?? "")?.get(String(node.id)) ?? "";
}

/** @type {any} */
let panel = null;

app.registerExtension({
  name: "run-recorder.panel",
  settings: [
    {
      id: BADGES,
      name: "Show each node's last time and peak memory",
      category: ["Run Recorder", "Canvas", "Badges"],
      type: "boolean",
      defaultValue: false,
      onChange: () => app.graph?.setDirtyCanvas?.(true, true),
    },
  ],
  /** @param {any} node */
  nodeCreated(node) {
    const Badge = /** @type {any} */ (window).LGraphBadge;
    if (!Badge || !Array.isArray(node.badges)) return;
    node.badges.push(() => new Badge({ text: badge(node) }));
  },
  async setup() {
    listen();
    for (const kind of ["execution_success", "execution_error"]) {
      api.addEventListener(kind, (/** @type {any} */ event) => read(event.detail.prompt_id));
    }
    app.extensionManager?.registerSidebarTab?.({
      id: "run-recorder",
      icon: "pi pi-history",
      title: "Run Recorder",
      tooltip: "Run Recorder: what your prompts did and cost",
      type: "custom",
      async render(/** @type {HTMLElement} */ element) {
        const { Panel } = await load("panel.js");
        panel?.destroy();
        const host = document.createElement("div");
        element.replaceChildren(host);
        panel = new Panel(host, { base, canvas });
      },
      destroy() {
        panel?.destroy();
        panel = null;
      },
    });
  },
});
