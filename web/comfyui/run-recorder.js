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

/** @type {any} */
let panel = null;

app.registerExtension({
  name: "run-recorder.panel",
  async setup() {
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
        host.style.height = "100%";
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
