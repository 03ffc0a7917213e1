// The fleet at a glance: what needs somebody, and a row for each machine.

import { problems, severity, showTroubles, troubles } from "./problems.js";
import { draw, lastRate, sparkline } from "./sparkline.js";
import { count, element, offset, plural, rate, setText, span } from "./text.js";

/** Rows that are drawn at first, and with each press of the button below them. */
const step = 200;

/** What the columns show, and what they are sorted by: the worst first. */
const columns = [
  { name: "machine", title: "Machine", value: (m) => m.machine, isText: true },
  { name: "state", title: "State", value: (m) => severity(m) * 1e9 + Math.min(m.outbox?.oldest_unconfirmed_seconds ?? 0, 1e8) },
  { name: "heard", title: "Heard", hint: "how long ago anything came from it", value: (m) => m.last_heard_seconds, show: (m) => span(m.last_heard_seconds) },
  { name: "waiting", title: "Waiting", hint: "events that are not confirmed, as the machine reported last", value: (m) => m.outbox?.waiting ?? -1, show: (m) => count(m.outbox?.waiting) },
  { name: "oldest", title: "Oldest", hint: "how long the oldest of them has waited", value: (m) => m.outbox?.oldest_unconfirmed_seconds ?? -1, show: (m) => span(m.outbox?.oldest_unconfirmed_seconds) },
  { name: "told", title: "Reported", hint: "how long ago the machine looked at its outbox: the age of the figures of waiting events, dead letters and disk", value: (m) => m.outbox?.told_seconds ?? -1, show: (m) => span(m.outbox?.told_seconds) },
  { name: "lag", title: "Lag", hint: "from the newest event's commit at the machine to its commit here", value: (m) => m.lag_seconds ?? -1, show: (m) => span(m.lag_seconds) },
  { name: "rate", title: "Last hour", hint: "events applied, minute by minute; the figure is of the last full minute", value: (m) => lastRate(m.history) ?? -1 },
  { name: "clock", title: "Clock", hint: "the machine's clock less this one's", value: (m) => Math.abs(m.clock_offset_seconds ?? 0), show: (m) => offset(m.clock_offset_seconds) },
  { name: "letters", title: "Dead letters", hint: "here, and at the machine", value: (m) => m.dead_letters + (m.outbox?.dead_letters ?? 0), show: (m) => count(m.dead_letters + (m.outbox?.dead_letters ?? 0)) },
  { name: "drift", title: "Drift", hint: "rows that differed at the last comparison", value: (m) => m.drift ?? -1, show: (m) => (m.drift === null ? "–" : count(m.drift)) },
];

export class FleetView {
  constructor() {
    this.title = "Fleet";
    this.every = 5000;
    this.path = "fleet";
    this.shown = step;
    this.sort = { name: "state", descending: true };
    this.rows = new Map();
    this.totals = element("dl", { class: "totals" });
    this.troubles = element("ul", { class: "troubles" });
    this.search = element("input", { type: "search", id: "search", autocomplete: "off", oninput: () => this.arrange() });
    this.which = element("select", { id: "which", onchange: () => this.arrange() },
      element("option", { value: "all" }, "all machines"), element("option", { value: "wrong" }, "those with troubles"),
      element("option", { value: "offline" }, "those that are offline"));
    this.found = element("p", { class: "found", role: "status" });
    this.body = element("tbody");
    this.heads = new Map(columns.map((column) => [column.name, this.head(column)]));
    this.more = element("button", { type: "button", onclick: () => { this.shown += step; this.arrange(); } });
    this.root = element("div", {},
      element("h1", {}, "Fleet"), this.totals,
      element("section", { "aria-labelledby": "attention" }, element("h2", { id: "attention" }, "What needs somebody"), this.troubles),
      element("section", { "aria-labelledby": "machines" },
        element("h2", { id: "machines" }, "Machines"),
        element("div", { class: "filters" }, element("label", { for: "search" }, "Name"), this.search, element("label", { for: "which" }, "Show"), this.which, this.found),
        element("table", { class: "fleet" },
          element("caption", { class: "unseen" }, "Machines; the buttons in the head sort"),
          element("thead", {}, element("tr", {}, ...this.heads.values())), this.body),
        this.more));
    this.showSort();
  }

  head(column) {
    const button = element("button", { type: "button", title: column.hint ?? null, onclick: () => this.sortBy(column) }, column.title);
    return element("th", { scope: "col" }, button);
  }

  sortBy(column) {
    const descending = this.sort.name === column.name ? !this.sort.descending : !column.isText;
    this.sort = { name: column.name, descending };
    this.showSort();
    this.arrange();
  }

  showSort() {
    for (const [name, head] of this.heads) {
      if (name === this.sort.name) head.setAttribute("aria-sort", this.sort.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  update(fleet) {
    this.fleet = fleet;
    this.showTotals(fleet);
    showTroubles(this.troubles, troubles(fleet), fleet.machines.length
      ? "Nothing. What was heard of is confirmed or on its way." : "No machine was heard yet. Start an agent: drover edge.");
    this.arrange();
  }

  showTotals({ machines, dead_letters, conflicts }) {
    const known = machines.filter((machine) => machine.outbox);
    const figures = [
      ["online", `${count(machines.filter((machine) => machine.online).length)} of ${count(machines.length)}`],
      ["applied", rate(sum(machines, (machine) => lastRate(machine.history) ?? 0))],
      ["waiting", known.length ? `${count(sum(known, (machine) => machine.outbox.waiting))}, reported within ${span(Math.max(...known.map((machine) => machine.outbox.told_seconds)))}` : "–"],
      ["dead letters", count(dead_letters)],
      ["conflicts", count(conflicts)],
      ["applied in all", count(sum(machines, (machine) => machine.applied))],
    ];
    if (this.totals.children.length === 0) {
      for (const [name] of figures) this.totals.append(element("div", {}, element("dt", {}, name), element("dd")));
    }
    figures.forEach(([, text], index) => setText(this.totals.children[index].lastChild, text));
  }

  /** Puts the machines that are asked for into their order. Rows stay the same elements, so that focus and selection stay. */
  arrange() {
    if (!this.fleet) return;
    const text = this.search.value.trim().toLowerCase();
    const which = { all: () => true, wrong: (m) => severity(m) > 0, offline: (m) => m.online === false }[this.which.value];
    const chosen = this.fleet.machines.filter((m) => m.machine.toLowerCase().includes(text) && which(m));
    const { value, isText } = columns.find(({ name }) => name === this.sort.name);
    const sign = this.sort.descending ? -1 : 1;
    chosen.sort((a, b) => {
      const order = isText ? compare(value(a), value(b)) : value(a) - value(b);
      return sign * order || compare(a.machine, b.machine);
    });
    const visible = chosen.slice(0, this.shown);
    const rows = visible.map((machine) => this.row(machine));
    rows.forEach((row, index) => {
      if (this.body.children[index] !== row) this.body.insertBefore(row, this.body.children[index] ?? null);
    });
    while (this.body.children.length > rows.length) this.body.lastChild.remove();
    this.more.hidden = chosen.length <= this.shown;
    setText(this.more, `Show ${Math.min(step, chosen.length - this.shown)} more`);
    setText(this.found, chosen.length === this.fleet.machines.length ? plural(chosen.length, "machine") : `${count(chosen.length)} of ${plural(this.fleet.machines.length, "machine")}`);
  }

  row(machine) {
    let row = this.rows.get(machine.machine);
    if (!row) {
      row = makeRow(machine);
      this.rows.set(machine.machine, row);
    }
    fillRow(row, machine);
    return row.element;
  }
}

function makeRow(machine) {
  const cells = new Map(columns.map((column) => [column.name, element(column.isText ? "th" : "td", { scope: column.isText ? "row" : null, "data-name": column.title })]));
  cells.get("machine").append(element("a", { href: `#/machines/${encodeURIComponent(machine.machine)}` }, machine.machine));
  const state = element("span", { class: "state" });
  cells.get("state").append(state);
  const picture = sparkline();
  const figure = element("span", { class: "figure" });
  cells.get("rate").append(picture, figure);
  return { element: element("tr", {}, ...cells.values()), cells, state, picture, figure };
}

function fillRow(row, machine) {
  const wrong = problems(machine);
  const online = machine.online === null ? "unknown" : machine.online ? "online" : "offline";
  setText(row.state, wrong.length ? wrong.map((problem) => problem.text).join(", ") : online);
  row.state.className = `state level${wrong[0] ? Math.max(...wrong.map((problem) => problem.level)) : 0}`;
  for (const { name, show } of columns) if (show) setText(row.cells.get(name), show(machine));
  draw(row.picture, machine.history);
  setText(row.figure, rate(lastRate(machine.history)));
}

function sum(all, value) {
  return all.reduce((total, one) => total + value(one), 0);
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
