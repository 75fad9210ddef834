// @ts-check
/** A prompt's nodes over time, above them the VRAM in use. Also drawn into a run's report. */
import { svg } from "./dom.js";
import { bytes, duration, milliseconds } from "./format.js";

const WIDTH = 1000;
const ROW = 14;
const CURVE = 90;
const AXIS = 18;
const LEAST = 1.5;
const MOST_ROWS = 40;

/**
 * @typedef {{ node_id: string, class_type: string | null, title: string | null, started_at: string | null,
 *   duration_seconds: number | null, cached: boolean, vram_used_peak_bytes: number | null, error: any }} NodeFigures
 * @typedef {{ t_seconds: number[], devices: Record<string, Record<string, (number | null)[]>> }} Samples
 */

/**
 * Which row each node is drawn in: the first whose last bar has ended, so that nodes that run one after another share one.
 * @param {{ from: number, to: number }[]} bars in the order of their starts
 * @returns {number[]}
 */
export function rowsOf(bars) {
  /** @type {number[]} */
  const ends = [];
  return bars.map(({ from, to }) => {
    let row = ends.findIndex((end) => end <= from + 1e-6);
    if (row < 0) row = Math.min(ends.length, MOST_ROWS - 1);
    ends[row] = Math.max(to, ends[row] ?? 0);
    return row;
  });
}

/**
 * Round steps for an axis of so many seconds: 1, 2 or 5 times a power of ten; about six of them.
 * @param {number} seconds
 */
export function ticks(seconds) {
  const rough = seconds / 6;
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= rough) ?? 10 * power;
  const found = [];
  for (let at = 0; at <= seconds + step / 1000; at += step) found.push(at);
  return found;
}

/**
 * Until when a prompt is known to have run, in milliseconds: now while it runs; where its process died, the last sign of life.
 * @param {Timed} prompt
 * @param {number} now
 */
function until(prompt, now) {
  const end = milliseconds(prompt.ended_at);
  if (end !== null || prompt.status === "running") return end ?? now;
  return milliseconds(prompt.last_seen_at) ?? milliseconds(prompt.started_at) ?? now;
}

/**
 * @typedef {{ status: string, started_at: string | null, ended_at: string | null, last_seen_at: string | null,
 *   duration_seconds: number | null }} Timed
 * @param {Timed} prompt
 * @param {NodeFigures[]} nodes
 * @param {Samples | null} samples
 * @param {{ label: string, onNode?: (id: string) => void, selected?: string | null, now?: number }} more
 */
export function timeline(prompt, nodes, samples, more) {
  const start = milliseconds(prompt.started_at);
  const ran = nodes.filter((node) => node.started_at !== null && !node.cached);
  const end = until(prompt, more.now ?? Date.now()) / 1000;
  const bars = ran.map((node) => {
    const from = ((milliseconds(node.started_at) ?? 0) - (start ?? 0)) / 1000;
    const long = node.duration_seconds ?? Math.max(0, end - from - (start ?? 0) / 1000);
    return { node, from: Math.max(0, from), to: Math.max(0, from) + long };
  });
  bars.sort((one, other) => one.from - other.from);
  const ends = bars.map((bar) => bar.to);
  const seen = prompt.duration_seconds ?? (start === null ? 0 : end - start / 1000);
  const total = Math.max(seen, ends.length ? ends.reduce((a, b) => Math.max(a, b)) : 0, 0.001);
  const rows = rowsOf(bars);
  const count = rows.length ? Math.max(...rows) + 1 : 1;
  const curve = samples ? vram(samples, total) : null;
  const top = curve ? CURVE + 6 : 0;
  const height = top + count * ROW + AXIS;
  const x = (/** @type {number} */ seconds) => (seconds / total) * WIDTH;
  const drawn = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${height}`, class: "timeline", role: "img", "aria-label": more.label, preserveAspectRatio: "none",
  });
  drawn.style.setProperty("height", `${height}px`);
  for (const at of ticks(total)) {
    drawn.append(svg("line", { x1: x(at), x2: x(at), y1: 0, y2: height - AXIS + 4, class: "tick" }));
  }
  if (curve) drawn.append(...curve);
  /** @type {Map<EventTarget, string>} */
  const told = new Map();
  drawn.addEventListener("pointerover", (event) => {
    const bar = /** @type {Element} */ (event.target);
    const text = told.get(bar);
    if (text !== undefined && !bar.firstChild) bar.append(svg("title", null, text));
  });
  bars.forEach(({ node, from, to }, index) => {
    const name = node.title || node.class_type || node.node_id;
    const kind = node.error ? "bar failed" : node.duration_seconds === null ? "bar open" : "bar";
    const bar = svg("rect", {
      x: x(from).toFixed(2), y: top + rows[index] * ROW + 1, width: Math.max(LEAST, x(to) - x(from)).toFixed(2), height: ROW - 2,
      class: more.selected === node.node_id ? `${kind} selected` : kind, "data-node": node.node_id,
    });
    told.set(bar, `${name} (${node.node_id}): ${duration(node.duration_seconds)}`);
    drawn.append(bar);
  });
  if (more.onNode) {
    drawn.addEventListener("click", (event) => {
      const id = /** @type {Element} */ (event.target).getAttribute("data-node");
      if (id !== null) more.onNode?.(id);
    });
  }
  return { drawn, total, peak: curve ? peakOf(samples) : null, ticks: ticks(total) };
}

/** @param {Samples | null} samples */
function peakOf(samples) {
  const used = used_bytes(samples);
  const known = used.filter((value) => value !== null);
  return known.length ? bytes(known.reduce((most, value) => Math.max(most ?? 0, value ?? 0), 0)) : null;
}

/** @param {Samples | null} samples */
function used_bytes(samples) {
  const first = Object.values(samples?.devices ?? {})[0];
  return first?.vram_used_bytes ?? [];
}

/**
 * The curve of the first device that has one.
 * @param {Samples} samples
 * @param {number} total seconds
 */
function vram(samples, total) {
  const used = used_bytes(samples);
  const most = used.reduce((high, value) => Math.max(high ?? 0, value ?? 0), 0) ?? 0;
  if (!most) return null;
  const points = samples.t_seconds
    .map((at, index) => ({ at, value: used[index] }))
    .filter((point) => point.value !== null && point.at >= 0 && point.at <= total)
    .map(({ at, value }) => `${((at / total) * WIDTH).toFixed(1)},${(CURVE - ((value ?? 0) / most) * (CURVE - 4)).toFixed(1)}`);
  if (points.length < 2) return null;
  const [left, right] = [points[0].split(",")[0], points[points.length - 1].split(",")[0]];
  return [
    svg("polygon", { points: `${left},${CURVE} ${points.join(" ")} ${right},${CURVE}`, class: "area" }),
    svg("polyline", { points: points.join(" "), class: "curve" }),
  ];
}
