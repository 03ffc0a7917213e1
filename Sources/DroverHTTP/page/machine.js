// One machine: how it stands, its streams, and its events as they are applied.

import { follow, get } from "./api.js";
import { problems, showTroubles } from "./problems.js";
import { address } from "./rows.js";
import { draw, sparkline, words } from "./sparkline.js";
import { bytes, count, element, offset, setText, span } from "./text.js";

/** Events that stay to be seen. */
const most = 100;

export class MachineView {
  constructor(name) {
    this.name = name;
    this.title = name;
    // Its rows are counted for every answer.
    this.every = 15_000;
    this.path = `machines/${encodeURIComponent(name)}`;
    this.facts = element("dl", { class: "facts" });
    this.troubles = element("ul", { class: "troubles" });
    this.orders = element("p", { hidden: true }, element("a", { href: `#/worklists//${encodeURIComponent(name)}` }, "Orders of this machine"));
    this.picture = sparkline(600, 60);
    this.pictureWords = element("p", { class: "hint" });
    this.streams = element("tbody");
    this.state = element("p", { class: "hint", role: "status" });
    this.pause = element("button", { type: "button", "aria-pressed": "false", onclick: () => this.togglePause() }, "Pause");
    this.events = element("ol", { class: "events", tabindex: "0", "aria-label": "Events, the newest first" });
    this.root = element("div", {},
      element("p", {}, element("a", { href: "#/" }, "Fleet")), element("h1", {}, name), this.troubles, this.facts, this.orders,
      element("section", { "aria-labelledby": "hour" }, element("h2", { id: "hour" }, "Last hour"), this.picture, this.pictureWords),
      element("section", { "aria-labelledby": "streams" }, element("h2", { id: "streams" }, "Streams"),
        element("table", {}, element("caption", { class: "unseen" }, "The machine's streams"),
          element("thead", {}, element("tr", {}, ...["Stream", "Rows here", "Applied", "Superseded", "Refused", "Lag", "Newest", "Compared"].map((text) => element("th", { scope: "col" }, text)))),
          this.streams)),
      element("section", { "aria-labelledby": "live" }, element("h2", { id: "live" }, "Events as they are applied"),
        element("p", { class: "row" }, this.pause, this.state), this.events));
  }

  start(signal) {
    this.refreshPicture(signal);
    get("worklists", signal).then(({ worklists }) => { this.orders.hidden = worklists.length === 0; }, () => {});
    follow(`live?machine=${encodeURIComponent(this.name)}`, signal, (event) => this.take(event), (isOpen, why) =>
      setText(this.state, isOpen ? "Listening." : why));
  }

  async refreshPicture(signal) {
    while (!signal.aborted) {
      try {
        const fleet = await get("fleet", signal);
        const machine = fleet.machines.find(({ machine }) => machine === this.name);
        if (machine) {
          draw(this.picture, machine.history);
          setText(this.pictureWords, `${words(machine.history)}.`);
          showTroubles(this.troubles, problems(machine).map((problem) => ({ ...problem, title: problem.text, text: "" })));
        }
      } catch (error) {
        if (signal.aborted) return;
      }
      await new Promise((resolve) => setTimeout(resolve, 5000));
    }
  }

  update(machine) {
    const { outbox } = machine;
    const facts = [
      ["State", machine.online === null ? "unknown" : machine.online ? "online" : "offline"],
      ["Heard", `${span(machine.last_heard_seconds)} ago`],
      ["Waiting", outbox ? `${count(outbox.waiting)}, reported ${span(outbox.told_seconds)} ago` : "the machine has not reported"],
      ["Oldest unconfirmed then", span(outbox?.oldest_unconfirmed_seconds)],
      ["Disk left then", bytes(outbox?.free_bytes)],
      ["Clock", offset(machine.clock_offset_seconds)],
      ["Dead letters here", count(machine.dead_letters)],
      ["Dead letters there then", count(outbox?.dead_letters)],
      ["Conflicts", count(machine.conflicts)],
      ["Rows refused there", count(machine.refused_rows)],
    ];
    if (this.facts.children.length === 0) {
      for (const [name] of facts) this.facts.append(element("div", {}, element("dt", {}, name), element("dd")));
    }
    facts.forEach(([, text], index) => setText(this.facts.children[index].lastChild, text));
    this.streams.replaceChildren(...machine.streams.flatMap((stream) => streamRows(this.name, stream)));
  }

  togglePause() {
    const isPaused = this.pause.getAttribute("aria-pressed") !== "true";
    this.pause.setAttribute("aria-pressed", String(isPaused));
    if (!isPaused) for (const event of this.held ?? []) this.show(event);
    this.held = isPaused ? [] : null;
  }

  take(event) {
    if (!this.held) return this.show(event);
    this.held.push(event);
    if (this.held.length > most) this.held.shift();
  }

  show({ data }) {
    const body = data.body === undefined ? "" : JSON.stringify(data.body);
    this.events.prepend(element("li", {},
      element("time", {}, new Date().toLocaleTimeString("en", { hour12: false })), element("span", { class: "stream" }, data.stream),
      element("span", { class: `op ${data.op}` }, data.op), element("span", { class: "id" }, data.id),
      element("code", {}, body.length > 300 ? `${body.slice(0, 300)}…` : body)));
    if (this.events.children.length > most) this.events.lastChild.remove();
  }
}

function streamRows(machine, stream) {
  const { check } = stream;
  const compared = !check ? "–" : `${check.text}, ${span(check.seconds_ago)} ago`;
  const lag = stream.versions_ahead_seconds === null ? span(stream.lag_seconds) : `${span(stream.versions_ahead_seconds)} ahead`;
  const texts = [count(stream.rows), count(stream.applied), count(stream.superseded), count(stream.refused), lag, `${span(stream.last_applied_seconds)} ago`, compared];
  const names = ["Rows here", "Applied", "Superseded", "Refused", "Lag", "Newest", "Compared"];
  const rows = [element("tr", {}, element("th", { scope: "row" }, element("a", { href: address(machine, stream.name) }, stream.name)), ...texts.map((text, index) => element("td", { "data-name": names[index] }, text)))];
  for (const [table, lines] of Object.entries(stream.with)) {
    rows.push(element("tr", { class: "lines" }, element("th", { scope: "row" }, `with ${table}`), element("td", { "data-name": "Rows here" }, count(lines)), element("td", { colspan: "6" })));
  }
  return rows;
}
