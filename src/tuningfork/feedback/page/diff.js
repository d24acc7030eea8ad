// Which words of two texts differ: the shortest edit script of Myers (1986), over words, spaces and signs.

import { nodesOf } from "./text.js";
import { h } from "./dom.js";

const WORDS = /\s+|[\p{L}\p{N}\p{M}_]+|[^\s\p{L}\p{N}\p{M}_]/gu;
const MOST_EDITS = 600;

export const words = (text) => text.match(WORDS) ?? [];

/** For each word of `a` and of `b` whether the other text lacks it there; null where they differ too much to say. */
export function difference(a, b) {
  const most = Math.min(a.length + b.length, MOST_EDITS);
  let ends = new Map([[1, 0]]);
  const history = [];
  for (let edits = 0; edits <= most; edits++) {
    history.push(new Map(ends));
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && (ends.get(k - 1) ?? -1) < (ends.get(k + 1) ?? -1));
      let x = down ? ends.get(k + 1) : ends.get(k - 1) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      ends.set(k, x);
      if (x >= a.length && x - k >= b.length) return trace(history, a.length, b.length);
    }
  }
  return null;
}

function trace(history, x, y) {
  const sides = [new Array(x).fill(false), new Array(y).fill(false)];
  for (let edits = history.length - 1; edits > 0; edits--) {
    const ends = history[edits];
    const k = x - y;
    const down = k === -edits || (k !== edits && (ends.get(k - 1) ?? -1) < (ends.get(k + 1) ?? -1));
    const before = down ? k + 1 : k - 1;
    while (x > ends.get(before) + (down ? 0 : 1) && x > 0 && y > 0) {
      x--;
      y--;
    }
    if (down) sides[1][--y] = true;
    else sides[0][--x] = true;
  }
  return sides;
}

/** The text's words as nodes, those that differ in <mark>; spaces alone are not marked. */
export function marked(tokens, differs) {
  const nodes = [];
  let run = "";
  const flush = (wasMarked) => {
    if (run) nodes.push(...(wasMarked ? [h("mark", {}, nodesOf(run))] : nodesOf(run)));
    run = "";
  };
  let before = false;
  tokens.forEach((token, place) => {
    const now = differs[place] && (token.trim() !== "" || (before && differs[place + 1]));
    if (now !== before) flush(before);
    before = now;
    run += token;
  });
  flush(before);
  return nodes;
}
