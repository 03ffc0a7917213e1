// One row: where it stands, and its columns to edit. Only columns that a person has changed are sent, with the tag of the row that the person has seen.

import { ask, exact, Figure } from "./api.js";
import { address, cell, path } from "./rows.js";
import { element, plural, setText } from "./text.js";

/** A token that writes, asked for when the page's own may only read. It is in this variable alone, and gone when the page is. */
let writing = null;

/** What SQLite would make of a column's type (https://www.sqlite.org/datatype3.html, section 3.1). */
function affinity(type) {
  const has = (...words) => words.some((word) => type.toUpperCase().includes(word));
  if (has("INT")) return "integer";
  if (has("CHAR", "CLOB", "TEXT")) return "text";
  if (type === "" || has("BLOB")) return "any";
  return has("REAL", "FLOA", "DOUB") ? "real" : "numeric";
}

const isNumber = (text) => /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text);

/** How a value stands in its field. What JSON has no form for stands in its own notation. */
function written(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "object" && !(value instanceof Figure) ? JSON.stringify(value) : String(value);
}

export class RowView {
  /** @param {string | null} id null for a row that is to be made. */
  constructor(machine, stream, id) {
    Object.assign(this, { machine, stream, id });
    this.title = id === null ? `New row of ${stream}` : `${id} of ${stream}`;
    this.every = 3000;
    this.steps = element("ol", { class: "steps" });
    this.sentence = element("p", { role: "status" });
    this.notes = element("ul", { class: "left" });
    this.seen = element("ol", { class: "events", "aria-label": "What was seen of the row while this page is open, the newest first" });
    this.fields = element("fieldset", { class: "fields" });
    this.outcome = element("div", { role: "status" });
    this.inputs = new Map();
    this.edits = 0;
    this.save = element("button", { type: "submit" }, id === null ? "Insert" : "Save");
    this.discard = element("button", { type: "button", onclick: () => this.takeBack() }, "Discard my changes");
    this.remove = element("button", { type: "button", class: "danger", onclick: () => this.delete() }, "Delete the row");
    this.why = element("p", { class: "hint" });
    this.form = element("form", {}, this.fields, this.why, element("p", { class: "row" }, this.save, id === null ? null : this.discard, id === null ? null : this.remove));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.id === null) this.insert();
      else this.send(this.row.tag, this.changes());
    });
    const standing = element("section", { "aria-labelledby": "standing" }, element("h2", { id: "standing" }, "Where it stands"), this.sentence, this.steps, this.notes, this.seen);
    this.root = element("div", {},
      element("p", {}, element("a", { href: address(machine, stream) }, `${stream} of ${machine === "*" ? "all machines" : machine}`)),
      element("h1", {}, id ?? "New row"), id === null ? null : standing,
      element("section", { "aria-labelledby": "columns" }, element("h2", { id: "columns" }, "Columns"), this.form), this.outcome);
  }

  async load(signal) {
    this.table ??= await exact(await ask(`${path(this.machine, this.stream)}?limit=1`, { signal }));
    if (this.id === null) return { row: null };
    const asked = this.edits;
    return { row: await exact(await ask(path(this.machine, this.stream, this.id), { signal })), asked };
  }

  update({ row, asked }) {
    if (this.inputs.size === 0) this.makeFields();
    // What was asked for before an edit's answer may be the row as it was before the edit.
    if (row === null || asked !== this.edits) return;
    if (!this.row || (row.tag !== this.row.tag && Object.keys(this.changes()).length === 0)) this.show(row);
    else if (row.tag !== this.row.tag) setText(this.why, "The row has changed since you began. Saving shows both.");
    this.showStanding(row);
  }

  // MARK: Where it stands

  showStanding(row) {
    setText(this.sentence, row.sentence);
    this.steps.replaceChildren(...row.history.map(({ text, at }, index) => element("li", { "aria-current": index === row.history.length - 1 ? "step" : null },
      text, at ? element("time", { datetime: at }, new Date(at).toLocaleString("en", { hour12: false })) : null)));
    this.notes.replaceChildren(...[
      row.conflicts.length > 0 && element("li", {}, "A value of this row lost a conflict and waits for a person: ", element("a", { href: `#/conflicts/${encodeURIComponent(this.machine)}` }, `conflict ${row.conflicts.join(", ")}`), "."),
      ...row.refused_by.map((refusal) => element("li", { class: "refusal" }, `Dead letter at ${refusal.machine} since ${new Date(refusal.since).toLocaleString("en", { hour12: false })}, tried ${plural(refusal.tries, "time")}: `, element("code", {}, refusal.cause))),
      row.refused_by.length > 0 && element("li", {}, "Correct the row here or in the machine's table. ", element("button", { type: "button", onclick: () => this.retry() }, "Have the machine try again")),
    ].filter(Boolean));
    const text = `${row.sentence}${row.conflicts.length > 0 ? " There is a conflict." : ""}`;
    if (this.said === text) return;
    this.said = text;
    this.seen.prepend(element("li", {}, element("time", {}, new Date().toLocaleTimeString("en", { hour12: false })), element("span", {}, text)));
  }

  // MARK: Fields

  makeFields() {
    const isOpen = this.table.editable;
    for (const { name, type, key } of this.table.columns) {
      const id = `column-${this.inputs.size}`;
      const isFixed = !isOpen || (key && this.id !== null);
      const text = element("textarea", { id, rows: "1", spellcheck: "false", readonly: isFixed });
      const isNull = element("input", { type: "checkbox", id: `${id}-null`, disabled: isFixed });
      const field = element("div", { class: "field" },
        element("label", { for: id }, name), " ", element("span", { class: "hint" }, key ? `${type}, part of the key` : type),
        text, element("span", { class: "row" }, isNull, element("label", { for: `${id}-null` }, element("span", { class: "unseen" }, `${name} is `), "NULL")));
      text.addEventListener("input", () => {
        isNull.checked = false;
        this.mark();
      });
      isNull.addEventListener("change", () => {
        if (isNull.checked) text.value = "";
        this.mark();
      });
      // Without a mouse: Ctrl and Enter save, as Enter alone is a line break.
      text.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
      });
      if (this.id === null) isNull.checked = !key;
      this.inputs.set(name, { text, isNull, field, type, key });
      this.fields.append(field);
    }
    this.save.hidden = this.discard.hidden = this.remove.hidden = !isOpen;
    setText(this.why, isOpen ? "" : this.table.why_not);
  }

  /** Fills the fields with the row as it is. */
  show(row) {
    this.row = row;
    for (const [name, { text, isNull }] of this.inputs) {
      text.value = written(row.body[name]);
      isNull.checked = row.body[name] === null;
    }
    if (this.table.editable) setText(this.why, "");
    this.mark();
  }

  takeBack() {
    this.outcome.replaceChildren();
    if (this.row) this.show(this.row);
    this.refresh?.();
  }

  /** Whether a person has changed a field. */
  isChanged(name) {
    const { text, isNull } = this.inputs.get(name);
    const value = this.row?.body[name] ?? null;
    return isNull.checked !== (value === null) || (!isNull.checked && text.value !== written(value));
  }

  mark() {
    if (this.row) for (const [name, { field }] of this.inputs) field.classList.toggle("changed", this.isChanged(name));
  }

  /** What a field says, as the column takes it. What is none of its type is sent as a text, and the server says why not. */
  value(name) {
    const { text, isNull, type } = this.inputs.get(name);
    if (isNull.checked) return null;
    const before = this.row?.body[name];
    if (text.value.startsWith('{"$')) {
      try {
        return JSON.parse(text.value);
      } catch {
        return text.value;
      }
    }
    const kind = affinity(type);
    const isFigure = kind === "integer" || kind === "real" || (kind === "any" && (before instanceof Figure || typeof before === "number"));
    return isFigure && isNumber(text.value.trim()) ? new Figure(text.value.trim()) : text.value;
  }

  changes() {
    if (!this.row) return {};
    const names = [...this.inputs.keys()].filter((name) => this.isChanged(name));
    return Object.fromEntries(names.map((name) => [name, this.value(name)]));
  }

  // MARK: Edits

  async send(tag, changes) {
    if (Object.keys(changes).length === 0) return this.tell("Nothing is changed.");
    await this.edit(this.id, { method: "PATCH", headers: { "If-Match": `"${tag}"`, "Content-Type": "application/merge-patch+json" }, body: JSON.stringify(changes) }, async (answer) => {
      const row = await exact(answer);
      this.outcome.replaceChildren();
      this.show(row);
      this.showStanding(row);
      this.tell("The edit is saved, and goes to the machine.");
    }, () => this.send(tag, changes));
  }

  async insert() {
    const keys = this.table.key.map((name) => this.value(name));
    const body = Object.fromEntries([...this.inputs.keys()].map((name) => [name, this.value(name)]));
    await this.edit(JSON.stringify(keys), { method: "PUT", headers: { "If-None-Match": "*", "Content-Type": "application/json" }, body: JSON.stringify(body) }, async (answer) => {
      const row = await exact(answer);
      location.hash = address(this.machine, this.stream, row.id);
    }, () => this.insert());
  }

  async delete() {
    if (!confirm(`Delete the row ${this.id} here and at the machine?`)) return;
    const remove = () => this.edit(this.id, { method: "DELETE", headers: { "If-Match": `"${this.row.tag}"` } }, () => {
      location.hash = address(this.machine, this.stream);
    }, remove);
    await remove();
  }

  /** Has the machines try the row again that they refuse. */
  async retry() {
    const query = new URLSearchParams({ stream: this.stream, id: this.row.id });
    if (this.machine !== "*") query.set("machine", this.machine);
    try {
      const { left } = await (await ask(`refused-rows/retry?${query}`, { method: "POST", bearer: writing ?? undefined })).json();
      this.tell(left.length === 0 ? "The row is taken." : left.map(({ machine, why }) => `${machine}: ${why}.`).join(" "));
      this.refresh?.();
    } catch (error) {
      if (error.status === 403 || (error.status === 401 && writing)) this.askForToken(error.message, () => this.retry());
      else this.tell(error.message);
    }
  }

  async edit(id, options, done, again) {
    try {
      const answer = await ask(path(this.machine, this.stream, id), { ...options, bearer: writing ?? undefined });
      this.edits += 1;
      await done(answer);
    } catch (error) {
      if (error.status === 403 || (error.status === 401 && writing)) this.askForToken(error.message, again);
      else if (error.status === 412) this.showBoth(error);
      else this.tell(error.status ? error.message : "The consumer does not answer. Nothing was saved, as far as is known.");
    }
  }

  /** Its place is spoken when it changes, as a status. */
  tell(text) {
    this.outcome.replaceChildren(element("p", {}, text));
  }

  askForToken(why, again) {
    writing = null;
    const input = element("input", { type: "password", id: "write-token", autocomplete: "off", required: true });
    const form = element("form", { class: "token" },
      element("h2", {}, "A token that writes is needed"),
      element("p", {}, why, " What you have typed stays. The token is forgotten when you close or reload this page."),
      element("p", {}, element("label", { for: "write-token" }, "Token with access: write"), input),
      element("button", { type: "submit" }, "Go on"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      writing = input.value.trim();
      this.outcome.replaceChildren();
      again();
    });
    this.outcome.replaceChildren(form);
    input.focus();
  }

  /** The row has changed since the person saw it: what is there now stands beside what the person typed. */
  showBoth(error) {
    const now = error.problem.row ?? null;
    if (this.id === null) return this.tell(`${error.message} A row with this key is there already.`);
    if (now === null) return this.tell("The row was deleted meanwhile. What you typed is still in the fields.");
    const mine = this.changes();
    const names = [...this.inputs.keys()];
    const panel = element("div", { class: "clash", tabindex: "-1", role: "group", "aria-labelledby": "clash" },
      element("h2", { id: "clash" }, "The row has changed since you began"),
      element("p", {}, "Nothing was saved. Decide what stays."),
      element("table", {},
        element("thead", {}, element("tr", {}, ...["Column", "There now", "What you typed"].map((text) => element("th", { scope: "col" }, text)))),
        element("tbody", {}, ...names.map((name) => {
          const isTyped = name in mine;
          return element("tr", { class: isTyped && written(mine[name]) !== written(now.body[name]) ? "differs" : null }, element("th", { scope: "row" }, name),
            element("td", { "data-name": "There now" }, cell(now.body[name])), element("td", { "data-name": "What you typed" }, isTyped ? cell(mine[name]) : "not changed"));
        }))),
      element("p", { class: "row" },
        element("button", { type: "button", onclick: () => this.send(now.tag, mine) }, "Save what I typed"),
        element("button", { type: "button", onclick: () => { this.outcome.replaceChildren(); this.show(now); } }, "Keep what is there now")));
    this.outcome.replaceChildren(panel);
    panel.focus();
  }
}
