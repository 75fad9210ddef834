// @ts-check
/** The one script that ComfyUI's page loads: a tab in the sidebar. The panel itself is fetched when it is first opened. */
// @ts-ignore  ComfyUI serves it
import { app } from "../../scripts/app.js";
// @ts-ignore  ComfyUI serves it
import { api } from "../../scripts/api.js";

const base = new URL(api.apiURL("/"), window.location.href).href;

/** Select a node, and bring it into view. @param {string} id */
function select(id) {
  const node = app.graph?.getNodeById?.(id) ?? app.graph?.getNodeById?.(Number(id));
  if (!node || !app.canvas) return;
  app.canvas.selectNode?.(node, false);
  app.canvas.centerOnNode?.(node);
}

const BADGES = "run-recorder.badges";
const WAIT_SECONDS = 20;

/** What each node of the last prompt took: its badge's text, by the id that it has on the canvas. @type {Map<string, string>} */
const figures = new Map();

/** Read the record of a prompt of this page once it is whole, and write its figures on the nodes. @param {string} id */
async function read(id) {
  if (!app.extensionManager?.setting?.get?.(BADGES)) return;
  const load = (/** @type {string} */ name) => import(new URL(`telemetry/panel/${name}`, base).href);
  try {
    const [{ Api }, { bytes, duration }] = await Promise.all([load("api.js"), load("format.js")]);
    const server = new Api(base);
    const path = `/prompts/${encodeURIComponent(id)}`;
    await server.json(`${path}/wait?timeout=${WAIT_SECONDS}`);
    for (const node of (await server.json(`${path}/nodes`)).items) {
      if (node.cached || node.duration_seconds === null) continue;
      const peak = node.vram_used_peak_bytes === null ? "" : ` · ${bytes(node.vram_used_peak_bytes)}`;
      figures.set(String(node.display_node_id ?? node.node_id), duration(node.duration_seconds) + peak);
    }
    app.graph?.setDirtyCanvas?.(true, true);
  } catch {
    // the canvas goes on without figures; the panel says what is wrong
  }
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
    node.badges.push(() => new Badge({ text: app.extensionManager?.setting?.get?.(BADGES) ? (figures.get(String(node.id)) ?? "") : "" }));
  },
  async setup() {
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
        const { Panel } = await import(new URL("telemetry/panel/panel.js", base).href);
        panel?.destroy();
        const host = document.createElement("div");
        element.replaceChildren(host);
        panel = new Panel(host, { base, canvas: { select } });
      },
      destroy() {
        panel?.destroy();
        panel = null;
      },
    });
  },
});
