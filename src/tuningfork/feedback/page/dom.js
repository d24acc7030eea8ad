// Building pages without markup in strings: whatever a model, a file or a person wrote is text and stays text.

export const $ = (selector, within = document) => within.querySelector(selector);

/** An element with attributes, listeners (`onclick`), and children that are elements or texts. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

/** Say something to those who listen to the page. */
export function announce(text) {
  const live = $("#live");
  live.textContent = "";
  setTimeout(() => (live.textContent = text), 30);
}

/** A key with the name people know it by. */
export const kbd = (key) => h("kbd", { "aria-hidden": "true" }, key);

export const letter = (place) => String.fromCharCode(65 + place);
