// Conflicts: both values of a row side by side, and a person who decides which one stays, of one row or of many.

import { ask, get } from "./api.js";
import { count, element, plural, setText } from "./text.js";

const reasons = { edit: "Both sides edited the row", delete: "One side deleted the row, the other edited it", key: "Both sides made a new row under one key" };
const most = 1000;

/** A value as it is kept; what JSON has no form for stands in its own notation. */
function show(value) {
  return value === null ? "NULL" : typeof value === "string" ? value : JSON.stringify(value);
}

export class ConflictsView {
  /**
   * @param {string} machine of which conflicts are shown at first; empty for all.
   * @param {(text: string) => void} say
   */
  constructor(machine, say) {
    this.say = say;
    this.title = "Conflicts";
    this.every = 10_000;
    this.pages = 1;
    this.filters = {
      machine: element("input", { type: "search", id: "of-machine", autocomplete: "off", value: machine, onchange: () => this.changed() }),
      stream: element("input", { type: "search", id: "of-stream", autocomplete: "off", onchange: () => this.changed() }),
    };
    this.found = element("p", { class: "found", role: "status" });
    this.list = element("ul", { class: "letters conflicts" });
    this.items = new Map();
    this.more = element("button", { type: "button", hidden: true, onclick: () => { this.pages += 1; this.refresh?.(); } }, "Show more");
    this.all = element("input", { type: "checkbox", id: "choose-all", onchange: () => this.choose(this.all.checked) });
    this.chosen = element("span", { class: "hint" });
    this.left = element("ul", { class: "left", role: "status" });
    this.many = element("div", { class: "row many", hidden: true },
      this.all, element("label", { for: "choose-all" }, "Choose all shown"), this.chosen,
      element("button", { type: "button", onclick: () => this.resolveMany("cloud") }, "Take the cloud's values"),
      element("button", { type: "button", onclick: () => this.resolveMany("machine") }, "Take the machine's values"));
    this.root = element("div", {},
      element("h1", {}, "Conflicts"),
      element("p", {}, "Both sides edited a row without knowing of each other. One value won on both sides. The other one is kept here until a person decides."),
      element("div", { class: "filters" }, element("label", { for: "of-machine" }, "Machine"), this.filters.machine, element("label", { for: "of-stream" }, "Stream"), this.filters.stream),
      this.found, this.many, this.left, this.list, this.more);
  }

  get query() {
    return new URLSearchParams(Object.entries(this.filters).map(([name, input]) => [name, input.value.trim()]).filter(([, value]) => value !== ""));
  }

  changed() {
    this.pages = 1;
    this.refresh?.();
  }

  async load(signal) {
    const query = this.query;
    let conflicts = [];
    let answer = { next: null };
    for (let page = 0; page < this.pages && (page === 0 || answer.next); page += 1) {
      if (answer.next) query.set("after", answer.next);
      answer = await get(`conflicts?${query}`, signal);
      conflicts = conflicts.concat(answer.conflicts);
    }
    return { ...answer, conflicts };
  }

  update({ conflicts, total, next }) {
    setText(this.found, total === 0 ? "There are none." : `${plural(total, "conflict")}, those that were decided first stand first.`);
    this.more.hidden = next === null;
    this.many.hidden = conflicts.length === 0;
    const there = new Set(conflicts.map(({ id }) => id));
    for (const id of this.items.keys()) if (!there.has(id)) this.items.delete(id);
    const items = conflicts.map((conflict) => {
      const known = this.items.get(conflict.id);
      // A row that has changed is shown anew, and is not chosen any more: the person has not seen it.
      if (known?.conflict.seen === conflict.seen && known.conflict.changed_since === conflict.changed_since) return known.item;
      const made = this.item(conflict, known?.item.querySelector("details").open ?? false);
      this.items.set(conflict.id, made);
      return made.item;
    });
    this.list.replaceChildren(...(this.list.children.length === items.length && items.every((item, index) => this.list.children[index] === item) ? this.list.children : items));
    this.showChosen();
  }

  item(conflict, isOpen) {
    const outcome = element("p", { role: "status" });
    const tick = element("input", { type: "checkbox", "aria-label": `Choose conflict ${conflict.id}`, onchange: () => this.showChosen() });
    const winner = conflict.lost === "cloud" ? "machine" : "cloud";
    const side = (name) => (name === "cloud" ? "The cloud's" : "The machine's");
    const differs = new Set(conflict.differs);
    const value = (row, name, otherwise) => (row === null ? otherwise : show(row[name]));
    const now = conflict.problem === null ? "(no row)" : "?";
    const rows = conflict.columns.map((name) => element("tr", { class: differs.has(name) ? "differs" : null },
      element("th", { scope: "row" }, name),
      element("td", { "data-name": "Now" }, element("code", {}, value(conflict.present, name, now))),
      element("td", { "data-name": `${side(conflict.lost)}, which lost` }, element("code", {}, value(conflict.value, name, "(deleted)"))),
      element("td", { "data-name": "" }, differs.has(name) ? "≠ differs" : "")));
    const button = (take, text) => element("button", { type: "button", onclick: () => this.resolve(conflict, take, outcome) }, text);
    const details = element("details", { open: isOpen },
      element("summary", {}, element("span", { class: "reason" }, conflict.reason), ` ${conflict.machine} ${conflict.stream} `, element("strong", {}, conflict.row),
        element("span", { class: "detail" }, `${plural(conflict.differs.length, "column differs", "columns differ")}: ${conflict.differs.join(", ") || "none"}`)),
      element("dl", { class: "facts" }, ...[
        ["What happened", reasons[conflict.reason]], ["Decided", new Date(conflict.decided).toLocaleString("en", { hour12: false })],
        ["Whose edit lost", conflict.lost === "cloud" ? "the cloud's" : `the machine's (${conflict.machine})`],
        ["Its version", String(conflict.version)], ["The decision's version", String(conflict.result)],
      ].map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text)))),
      conflict.problem ? element("p", { class: "advice" }, `${conflict.problem}; only keeping is possible.`)
        : conflict.changed_since ? element("p", { class: "advice" }, element("strong", {}, "The row has changed since."), " What stands under Now is what you decide about.") : null,
      element("table", { class: "sides" },
        element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Column"), element("th", { scope: "col" }, conflict.changed_since ? "Now" : `${side(winner)}, which won: now`), element("th", { scope: "col" }, `${side(conflict.lost)}, which lost`), element("th", { scope: "col" }, ""))),
        element("tbody", {}, ...rows)),
      element("p", { class: "row" },
        button(winner, "Keep the row as it is"),
        conflict.problem ? null : button(conflict.lost, conflict.value === null ? "Delete the row" : `Take ${conflict.lost === "cloud" ? "the cloud's" : "the machine's"} value`),
        conflict.reason === "key" ? button("both", "Keep both, under two keys") : null),
      outcome);
    return { conflict, tick, item: element("li", {}, element("div", { class: "choice" }, tick), details) };
  }

  get ticked() {
    return [...this.items.values()].filter(({ tick }) => tick.checked).map(({ conflict }) => conflict);
  }

  choose(isChosen) {
    for (const { tick } of this.items.values()) tick.checked = isChosen;
    this.showChosen();
  }

  showChosen() {
    const number = this.ticked.length;
    setText(this.chosen, `${count(number)} chosen`);
    this.all.checked = number > 0 && number === this.items.size;
  }

  async resolve(conflict, take, outcome) {
    try {
      await ask(`conflicts/${conflict.id}/resolve`, { method: "POST", headers: { "If-Match": `"${conflict.seen}"`, "Content-Type": "application/json" }, body: JSON.stringify({ take }) });
      this.say(`Conflict ${conflict.id} is resolved.`);
      this.refresh?.();
    } catch (error) {
      outcome.textContent = error.message;
      if (error.status === 412 || error.status === 404) this.refresh?.();
    }
  }

  async resolveMany(take) {
    const chosen = this.ticked.slice(0, most);
    if (chosen.length === 0) return this.say("Choose conflicts first.");
    if (chosen.length > 1 && !confirm(`Resolve ${plural(chosen.length, "conflict")} with the ${take}'s values?`)) return;
    try {
      const order = { take, conflicts: chosen.map(({ id, seen }) => ({ id, seen })) };
      const answer = await (await ask("conflicts/resolve", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(order) })).json();
      this.say(`${plural(answer.resolved, "conflict is", "conflicts are")} resolved.`);
      this.left.replaceChildren(...answer.left.map(({ id, why }) => element("li", {}, `Conflict ${id} is left: ${why}`)));
      this.refresh?.();
    } catch (error) {
      this.say(error.message);
    }
  }
}
