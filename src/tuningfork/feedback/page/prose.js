// Guidelines: a little Markdown as elements. Headings, paragraphs, lists, quotes, rules, **bold**, *italic*, `code`.

import { h } from "./dom.js";
import { nodesOf } from "./text.js";

export function prose(source) {
  const blocks = [];
  for (const chunk of source.replace(/\r\n?/g, "\n").split(/\n{2,}/)) {
    let lines = chunk.split("\n").filter((line) => line.trim());
    while (lines.length) {
      const heading = lines[0].match(/^(#{1,4})\s+(.*)/);
      if (heading) {
        blocks.push(h(`h${Math.min(heading[1].length + 2, 5)}`, {}, inline(heading[2])));
        lines = lines.slice(1);
        continue;
      }
      const kind = kindOf(lines[0]);
      let end = 1;
      while (end < lines.length && !/^#{1,4}\s/.test(lines[end]) && (kindOf(lines[end]) === kind || (kind !== "p" && /^\s/.test(lines[end])))) end++;
      blocks.push(block(kind, lines.slice(0, end)));
      lines = lines.slice(end);
    }
  }
  return blocks;
}

const kindOf = (line) => (/^\s*[-*+]\s/.test(line) ? "ul" : /^\s*\d+[.)]\s/.test(line) ? "ol" : /^\s*>/.test(line) ? "blockquote" : /^\s*(---+|\*\*\*+)\s*$/.test(line) ? "hr" : "p");

function block(kind, lines) {
  if (kind === "hr") return h("hr");
  if (kind === "p") return h("p", {}, inline(lines.join(" ")));
  if (kind === "blockquote") return h("blockquote", {}, prose(lines.map((line) => line.replace(/^\s*>\s?/, "")).join("\n")));
  const items = [];
  for (const line of lines) {
    const start = line.match(/^\s*(?:[-*+]|\d+[.)])\s+(.*)/);
    if (start) items.push(start[1]);
    else items[items.length - 1] += ` ${line.trim()}`;
  }
  return h(kind, {}, items.map((item) => h("li", {}, inline(item))));
}

function inline(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(/\*\*(.+?)\*\*|`([^`]+)`|\*(\S(?:.*?\S)?)\*/g)) {
    nodes.push(...nodesOf(text.slice(end, match.index)));
    const [tag, inner] = match[1] ? ["strong", match[1]] : match[2] ? ["code", match[2]] : ["em", match[3]];
    nodes.push(h(tag, {}, nodesOf(inner)));
    end = match.index + match[0].length;
  }
  return [...nodes, ...nodesOf(text.slice(end))];
}
