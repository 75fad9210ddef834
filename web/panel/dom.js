// @ts-check
/** Elements from plain values. Text is only ever text: nothing here, or above it, makes HTML of a string. */

/** @typedef {Node | string | number | null | undefined | false} Child */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element. `on` holds its listeners, `class` its classes, what else is given its attributes; an attribute that is null
 * or false is left out, true is an empty one.
 * @param {string} tag
 * @param {Record<string, any> | null} given
 * @param {...(Child | Child[])} children
 * @returns {HTMLElement}
 */
export function h(tag, given, ...children) {
  return /** @type {HTMLElement} */ (fill(document.createElement(tag), given, children));
}

/**
 * An SVG element.
 * @param {string} tag
 * @param {Record<string, any> | null} given
 * @param {...(Child | Child[])} children
 * @returns {SVGElement}
 */
export function svg(tag, given, ...children) {
  return /** @type {SVGElement} */ (fill(document.createElementNS(SVG, tag), given, children));
}

/**
 * @param {Element} element
 * @param {Record<string, any> | null} given
 * @param {(Child | Child[])[]} children
 */
function fill(element, given, children) {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, children);
  return element;
}

/**
 * @param {Element} element
 * @param {(Child | Child[])[]} children
 */
export function append(element, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * Put other children in the place of an element's own.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/**
 * A number as a style, by the object model: a page that forbids inline styles still takes it.
 * @template {HTMLElement | SVGElement} T
 * @param {T} element
 * @param {Record<string, string>} styles
 * @returns {T}
 */
export function styled(element, styles) {
  for (const [name, value] of Object.entries(styles)) element.style.setProperty(name, value);
  return element;
}
