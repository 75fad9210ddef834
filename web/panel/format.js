// @ts-check
/** Values as people read them, in the viewer's zone and language. What is unknown is a dash, never 0. */

import { S } from "./strings.js";

export const UNKNOWN = "–";

/** @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds < 0.0005) return "< 1 ms";
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const [hours, minutes, rest] = parts;
  return hours ? `${hours} h ${pad(minutes)} min` : `${minutes} min ${pad(rest)} s`;
}

/** @param {number} number */
function pad(number) {
  return String(number).padStart(2, "0");
}

/** @param {number | null | undefined} bytes */
export function bytes(bytes) {
  if (bytes === null || bytes === undefined) return UNKNOWN;
  const sign = bytes < 0 ? "-" : "";
  let left = Math.abs(bytes);
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (left < 1024 || unit === "GiB") return `${sign}${left < 100 && unit !== "B" ? left.toFixed(1) : Math.round(left)} ${unit}`;
    left /= 1024;
  }
  return UNKNOWN;
}

/**
 * @param {number | null | undefined} value
 * @param {string} unit
 * @param {number} [digits]
 */
export function figure(value, unit, digits = 0) {
  return value === null || value === undefined ? UNKNOWN : `${value.toFixed(digits)} ${unit}`;
}

/** @param {string | null | undefined} iso */
export function moment(iso) {
  if (!iso) return UNKNOWN;
  const at = new Date(iso);
  const today = new Date().toDateString() === at.toDateString();
  const time = at.toLocaleTimeString();
  return today ? time : `${at.toLocaleDateString()} ${time}`;
}

/** @param {string | null | undefined} iso */
export function milliseconds(iso) {
  return iso ? Date.parse(iso) : null;
}

/** What a prompt is called, as the recorder says; an id is never a name. @param {any} prompt */
export function nameOf(prompt) {
  return prompt.name ?? S.nameless;
}

const PICTURES = /\.(png|jpe?g|webp|gif|avif|bmp)$/i;

/** Whether an output is a picture that is there to be shown. @param {any} file */
export function isPicture(file) {
  return PICTURES.test(file.filename) && file.bytes !== null;
}

/**
 * A long text, cut in the middle. By code points, so that no character is broken.
 * @param {string | null | undefined} text
 * @param {number} most
 */
export function short(text, most) {
  const points = Array.from(text ?? "");
  if (points.length <= most) return points.join("");
  const half = Math.floor((most - 1) / 2);
  return `${points.slice(0, most - 1 - half).join("")}…${points.slice(-half).join("")}`;
}
