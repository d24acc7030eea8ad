// Untrusted text on the page. Characters that hide or reorder what is read are shown by their code.

import { h } from "./dom.js";

// control, format, private and half characters, line and paragraph separators; but not line ends, tabs and the joiners of scripts
const HIDDEN = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

/** Nodes for a text: plain text, and marks where a hidden character stands. */
export function nodesOf(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > end) nodes.push(document.createTextNode(text.slice(end, match.index)));
    nodes.push(mark(match[0]));
    end = match.index + match[0].length;
  }
  if (end < text.length) nodes.push(document.createTextNode(text.slice(end)));
  return nodes;
}

function mark(character) {
  const code = character.codePointAt(0);
  const name = code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  return h("span", { class: "ctl", title: "a character that is not shown" }, name);
}

/**
 * A block of text. `piece` is {text, length}: where the whole is longer, a button asks `more(start)` for the next piece.
 * The block's `whole()` is the text that was loaded.
 */
export function textBlock(piece, more) {
  const text = h("div", { class: "text", dir: "auto" }, nodesOf(piece.text));
  const block = h("div", { class: "block" }, text);
  let loaded = piece.text;
  let shown = [...piece.text].length;
  const button = h("button", { type: "button", class: "plain more", onclick: next });
  const tell = () => {
    const left = piece.length - shown;
    button.textContent = `${left.toLocaleString()} more characters: show the next`;
    button.hidden = left <= 0;
  };
  async function next() {
    button.disabled = true;
    const found = await more(shown).finally(() => (button.disabled = false));
    text.append(...nodesOf(found.text));
    loaded += found.text;
    shown += [...found.text].length;
    tell();
  }
  if (piece.length > shown) block.append(button);
  tell();
  block.whole = () => loaded;
  block.text = text;
  return block;
}
