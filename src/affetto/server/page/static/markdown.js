// Model cards: of Markdown, headings, lists, tables, bold text, code and links; all of it set as text, never as HTML.

import { element } from "./text.js";

const INLINE = /\*\*(.+?)\*\*|`(.+?)`|\[([^\]]+)\]\((https?:[^\s)]+)\)/g;

/** The elements that a text in Markdown becomes. */
export function markdown(text) {
  return text.split(/\n\s*\n/).flatMap((block) => {
    const lines = block.trim().split("\n").filter(Boolean);
    const heading = lines[0]?.match(/^(#{1,3}) (.*)/);
    if (heading) return [inline(`h${heading[1].length}`, heading[2]), ...markdown(lines.slice(1).join("\n"))];
    if (lines[0]?.startsWith("|")) return [table(lines)];
    if (lines[0]?.startsWith("- ")) return [list(lines)];
    return lines.length > 0 ? [inline("p", lines.join(" "))] : [];
  });
}

function list(lines) {
  const items = lines.join("\n").slice(2).split("\n- "); // an item may go on in the next line
  return filled("ul", items.map((item) => inline("li", item)));
}

function table([head, , ...rows]) {
  const row = (line, tag) => filled("tr", line.split("|").slice(1, -1).map((cell) => inline(tag, cell.trim())));
  return filled("table", [row(head, "th"), ...rows.map((line) => row(line, "td"))]);
}

function inline(tag, text) {
  const node = element(tag, "");
  let done = 0;
  for (const { 0: whole, 1: bold, 2: code, 3: label, 4: href, index } of text.matchAll(INLINE)) {
    node.append(text.slice(done, index));
    if (bold) node.append(inline("strong", bold));
    else if (code) node.append(element("code", "", code));
    else node.append(Object.assign(element("a", "", label), { href }));
    done = index + whole.length;
  }
  node.append(text.slice(done));
  return node;
}

function filled(tag, children) {
  const node = element(tag, "");
  node.append(...children);
  return node;
}
