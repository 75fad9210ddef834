// @ts-check
/** How tall the panel is: down to the end of what is seen of the element that it was put into, whatever that is. */

const LEAST = 160;
const NEARLY = 120;

/** The elements around one, its own shadow root's host among them. @param {Element} element */
function around(element) {
  const found = [];
  for (let node = /** @type {any} */ (element).parentNode; node; node = node.parentNode ?? node.host) if (node instanceof Element) found.push(node);
  return found;
}

/**
 * Keep `frame` as tall as what is seen around `host`. A height of 100% is none in a block of automatic height, as the
 * sidebar of ComfyUI is one: everything in it would be as tall as the longest list.
 * @param {HTMLElement} host
 * @param {HTMLElement} frame
 * @returns {() => void} ends it
 */
export function bounded(host, frame) {
  const measure = () => {
    if (!host.isConnected || !host.getClientRects().length) return;
    // Whatever is as tall as its content now ends below the window, so that only what bounds us is found.
    host.style.height = `${window.innerHeight}px`;
    let [bottom, top] = [window.innerHeight, host.getBoundingClientRect().top];
    const clips = around(host).filter((one) => getComputedStyle(one).overflowY !== "visible");
    for (const one of clips) {
      bottom = Math.min(bottom, one.getBoundingClientRect().top + one.clientTop + one.clientHeight);
      top += one.scrollTop;
    }
    let height = Math.max(LEAST, Math.floor(bottom - top));
    host.style.height = `${height}px`;
    const over = clips.length ? clips[0].scrollHeight - clips[0].clientHeight : 0; // a margin, or what stands below us
    if (over > 0 && over < NEARLY) height = Math.max(LEAST, height - over);
    for (const one of [host, frame]) one.style.height = `${height}px`;
  };
  const watching = new ResizeObserver(measure);
  for (const one of around(host)) watching.observe(one);
  window.addEventListener("resize", measure);
  measure();
  return () => {
    watching.disconnect();
    window.removeEventListener("resize", measure);
  };
}
