// @ts-check
/** How a prompt compares with its like, and the reasons that its record shows. */
import { h } from "./dom.js";
import { duration, short } from "./format.js";
import { S } from "./strings.js";

/** A reason that is less sure than the first only fits, one that is less than the second may be by chance. */
const [SURE, FITS] = [0.8, 0.5];

/**
 * What is said of it, in a section of its own; null where nothing can be said.
 * @param {any} why the answer of `/why`; null where there is none
 */
export function whyOf(why) {
  if (!why || (why.verdict === null && !why.reasons.length)) return null;
  return [
    h("p", null, h("strong", null, S.verdicts[/** @type {keyof S["verdicts"]} */ (why.verdict)] ?? ""), usual(why)),
    why.reasons.length
      ? h("ul", { class: "reasons" }, why.reasons.map((/** @type {any} */ one) => h("li", null, one.confidence >= SURE ? "" : `${one.confidence >= FITS ? S.perhaps : S.possibly}: `, short(one.text, 600))))
      : null,
    ...why.notes.map((/** @type {string} */ note) => h("p", { class: "muted" }, short(note, 400))),
  ];
}

/** @param {any} why */
function usual({ usual: known, ratio }) {
  if (!known) return "";
  const [low, high] = known.interval;
  const times = ratio === null ? "" : ` (× ${ratio.toFixed(2)})`;
  return ` ${S.usually} ${duration(known.median)}, ${duration(low)} – ${duration(high)}, ${known.runs} ${S.runs}${times}`;
}
