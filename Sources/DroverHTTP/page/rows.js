// A machine's rows of one stream: to browse and to search.

import { ask } from "./api.js";
import { element, setText } from "./text.js";
import { parse, shown } from "./values.js";

export function rowsPath(machine, stream, id = null) {
  return ["streams", stream, "rows", machine, ...(id === null ? [] : [id])].map(encodeURIComponent).join("/");
}

export function rowsAddress(machine, stream, id = null) {
  return `#/${["rows", machine, stream, ...(id === null ? [] : [id])].map(encodeURIComponent).join("/")}`;
}

const states = { up: "only goes up", machine: "the machine's", edited: "edited here", waiting: "on its way", confirmed: "confirmed" };

export class RowsView {
  constructor(machine, stream) {
    this.machine = machine;
    this.stream = stream;
    this.title = `${stream} of ${machine}`;
    this.every = 15_000;
    this.pages = 1;
    this.search = element("input", { type: "search", id: "search", autocomplete: "off", maxlength: "200", onchange: () => this.changed() });
    this.id = element("input", { type: "text", id: "row-id", autocomplete: "off" });
    const go = element("form", { class: "row", onsubmit: (event) => { event.preventDefault(); if (this.id.value !== "") location.hash = rowsAddress(machine, stream, this.id.value); } },
      element("label", { for: "row-id" }, "ID"), this.id, element("button", { type: "submit" }, "Open"));
    const find = element("form", { class: "row", role: "search", onsubmit: (event) => { event.preventDefault(); this.changed(); } },
      element("label", { for: "search" }, "Search"), this.search, element("button", { type: "submit" }, "Search"));
    this.why = element("p", { class: "hint" });
    this.found = element("p", { class: "found", role: "status" });
    this.head = element("tr");
    this.body = element("tbody");
    this.more = element("button", { type: "button", hidden: true, onclick: () => { this.pages += 1; this.refresh?.(); } }, "Show more");
    this.fresh = element("a", { href: `#/new-row/${encodeURIComponent(machine)}/${encodeURIComponent(stream)}`, hidden: true }, "New row");
    const back = machine === "*" ? element("a", { href: "#/" }, "Fleet") : element("a", { href: `#/machines/${encodeURIComponent(machine)}` }, machine);
    this.root = element("div", {}, element("p", {}, back), element("h1", {}, this.title), this.why,
      element("div", { class: "filters" }, find, go, this.fresh), this.found,
      element("table", { class: "rows" }, element("caption", { class: "unseen" }, this.title), element("thead", {}, this.head), this.body), this.more);
  }

  changed() {
    this.pages = 1;
    this.refresh?.();
  }

  async load(signal) {
    const query = new URLSearchParams();
    if (this.search.value !== "") query.set("search", this.search.value);
    let rows = [];
    let answer = null;
    for (let page = 0; page < this.pages && (answer === null || answer.next !== null); page += 1) {
      if (answer) query.set("after", answer.next);
      answer = parse(await (await ask(`${rowsPath(this.machine, this.stream)}?${query}`, { signal })).text());
      rows = rows.concat(answer.rows);
    }
    return { ...answer, rows };
  }

  update({ rows, columns, next, editable, why_not: why }) {
    setText(this.why, editable ? "Rows can be edited here. The machine gets each edit." : why);
    this.fresh.hidden = !editable;
    const isSearch = this.search.value !== "";
    setText(this.found, rows.length === 0 ? (next === null ? "There are none." : "None so far; there are more rows to look at.") : `${rows.length} shown${next === null ? "" : ", and there are more"}.`);
    this.more.hidden = next === null;
    setText(this.more, isSearch && rows.length === 0 ? "Search on" : "Show more");
    const names = columns.map(({ name }) => name);
    this.head.replaceChildren(...["ID", "Stands", ...names].map((text) => element("th", { scope: "col" }, text)));
    const focused = document.activeElement?.dataset?.row;
    this.body.replaceChildren(...rows.map((row) => element("tr", {},
      element("th", { scope: "row" }, element("a", { href: rowsAddress(this.machine, this.stream, row.id), "data-row": row.id }, row.id)),
      element("td", { "data-name": "Stands" }, `${states[row.state] ?? row.state}${row.conflicts.length > 0 ? ", conflict" : ""}`),
      ...names.map((name) => element("td", { "data-name": name }, cut(shown(row.body[name])))))));
    if (focused !== undefined) [...this.body.querySelectorAll("a")].find((link) => link.dataset.row === focused)?.focus();
  }
}

function cut(text) {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
