// A machine's rows in one stream: browsed page by page, and searched.

import { ask, exact } from "./api.js";
import { element, plural, setText } from "./text.js";

const states = { up: "from the machine", machine: "from the machine", edited: "edited", waiting: "goes down", refused: "refused by the machine", confirmed: "confirmed" };

/** The address of a stream's rows, or of one of them. */
export function address(machine, stream, id) {
  const place = `#/rows/${encodeURIComponent(machine)}/${encodeURIComponent(stream)}`;
  return id === undefined ? place : `${place}/${encodeURIComponent(id)}`;
}

/** What the server is asked for. A row named `.` or `..` would be another path to the browser, and stands in a list. */
export function path(machine, stream, id) {
  const place = `streams/${encodeURIComponent(stream)}/rows/${encodeURIComponent(machine)}`;
  if (id === undefined) return place;
  return `${place}/${encodeURIComponent(id === "." || id === ".." ? JSON.stringify([id]) : id)}`;
}

/** A value as a cell shows it. */
export function cell(value) {
  if (value === null || value === undefined) return element("span", { class: "null" }, "NULL");
  const text = typeof value === "object" && !("text" in value) ? JSON.stringify(value) : String(value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

export class RowsView {
  constructor(machine, stream) {
    Object.assign(this, { machine, stream });
    this.title = `${stream} of ${machine}`;
    this.every = 10_000;
    /** Cursors of the pages up to the one that is shown. */
    this.cursors = [];
    this.search = element("input", { type: "search", id: "row-search", autocomplete: "off", maxlength: "200" });
    this.found = element("p", { class: "found", role: "status" });
    this.note = element("p", { class: "hint" });
    this.head = element("thead");
    this.body = element("tbody");
    this.table = element("table", { class: "rows" }, element("caption", { class: "unseen" }, "The machine's rows"), this.head, this.body);
    this.first = element("button", { type: "button", hidden: true, onclick: () => this.go([]) }, "First page");
    this.next = element("button", { type: "button", hidden: true, onclick: () => this.go([...this.cursors, this.following]) }, "Next page");
    this.make = element("a", { href: `#/new-row/${encodeURIComponent(machine)}/${encodeURIComponent(stream)}`, hidden: true }, "New row");
    const form = element("form", { class: "filters", role: "search" }, element("label", { for: "row-search" }, "Search in all columns"), this.search, element("button", { type: "submit" }, "Search"), this.make);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.go([]);
    });
    this.root = element("div", {},
      element("p", {}, machine === "*" ? element("a", { href: "#/" }, "Fleet") : element("a", { href: `#/machines/${encodeURIComponent(machine)}` }, machine)),
      element("h1", {}, `${stream} of ${machine === "*" ? "all machines" : machine}`), this.note, form, this.found, this.table,
      element("p", { class: "row" }, this.first, this.next));
  }

  go(cursors) {
    this.cursors = cursors;
    this.refresh?.();
  }

  async load(signal) {
    const query = new URLSearchParams({ limit: "50" });
    if (this.search.value.trim() !== "") query.set("search", this.search.value.trim());
    if (this.cursors.length > 0) query.set("after", this.cursors.at(-1));
    return exact(await ask(`${path(this.machine, this.stream)}?${query}`, { signal }));
  }

  update(answer) {
    this.following = answer.next;
    this.first.hidden = this.cursors.length === 0;
    this.next.hidden = answer.next === null;
    this.make.hidden = !answer.editable;
    setText(this.note, answer.editable ? "Open a row to edit it. The machine gets the edit." : answer.why_not);
    const more = answer.next === null ? "" : " There are more.";
    setText(this.found, answer.rows.length === 0 && answer.next === null ? "There are none." : `${plural(answer.rows.length, "row")} on this page.${more}`);
    // Set only where something is another, so that the focus stays.
    const shown = JSON.stringify(answer.rows);
    if (shown === this.shown) return;
    this.shown = shown;
    this.head.replaceChildren(element("tr", {}, ...["Row", "Where it stands", ...answer.columns.map(({ name }) => name)].map((name) => element("th", { scope: "col" }, name))));
    this.body.replaceChildren(...answer.rows.map((row) => element("tr", { class: row.state === "refused" ? "refused" : null },
      element("th", { scope: "row" }, element("a", { href: address(this.machine, this.stream, row.id) }, row.id)),
      element("td", { "data-name": "Where it stands", title: row.sentence }, row.conflicts.length > 0 ? `${states[row.state]}, conflict` : states[row.state]),
      ...answer.columns.map(({ name }) => element("td", { "data-name": name }, cell(row.body[name]))))));
  }
}
