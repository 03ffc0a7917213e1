// The queues of orders: how many are in which state, each order, and what a person does about it.

import { ask, get } from "./api.js";
import { count, element, plural, setText } from "./text.js";

const states = { queued: "queued", handed_out: "handed out", in_work: "in work", complete: "complete", withdrawn: "withdrawn", refused: "refused" };

export class WorklistsView {
  /**
   * @param {string} name of the worklist that is shown at first; empty for the first one.
   * @param {string} machine whose orders are shown at first; empty for the orders of all machines.
   * @param {(text: string) => void} say
   */
  constructor(name, machine, say) {
    this.say = say;
    this.title = "Worklists";
    this.every = 5_000;
    this.pages = 1;
    this.name = name;
    const changed = () => { this.pages = 1; this.refresh?.(); };
    this.filters = {
      machine: element("input", { type: "search", id: "order-machine", autocomplete: "off", value: machine, onchange: changed }),
      state: element("select", { id: "order-state", onchange: changed }, element("option", { value: "" }, "any"), ...Object.entries(states).map(([value, text]) => element("option", { value }, text))),
    };
    this.queues = element("table", { class: "queues" });
    this.found = element("p", { class: "found", role: "status" });
    this.heading = element("h2", {});
    this.list = element("table", { class: "orders" });
    this.more = element("button", { type: "button", hidden: true, onclick: () => { this.pages += 1; this.refresh?.(); } }, "Show more");
    this.outcome = element("p", { role: "alert" });
    this.root = element("div", {},
      element("h1", {}, "Worklists"),
      element("p", {}, "Orders for tables at machines. A machine asks for the next ones when its table is ready. An order that a machine has is queued again only by a person."),
      this.queues, this.heading,
      element("div", { class: "filters" }, element("label", { for: "order-machine" }, "Machine"), this.filters.machine, element("label", { for: "order-state" }, "State"), this.filters.state),
      this.found, this.outcome, this.list, this.more);
  }

  async load(signal) {
    const { worklists } = await get("worklists", signal);
    if (!worklists.some((worklist) => worklist.name === this.name)) this.name = worklists[0]?.name ?? "";
    let orders = [];
    let next = null;
    if (this.name !== "") {
      const query = new URLSearchParams(Object.entries(this.filters).map(([name, input]) => [name, input.value.trim()]).filter(([, value]) => value !== ""));
      for (let page = 0; page < this.pages && (page === 0 || next !== null); page += 1) {
        if (next !== null) query.set("after", next);
        const answer = await get(`worklists/${encodeURIComponent(this.name)}/orders?${query}`, signal);
        orders = orders.concat(answer.orders);
        next = answer.next;
      }
    }
    return { worklists, orders, next };
  }

  update({ worklists, orders, next }) {
    if (worklists.length === 0) {
      setText(this.found, "The configuration has no worklists.");
      return;
    }
    this.queues.replaceChildren(
      element("thead", {}, element("tr", {}, ...["Worklist", ...Object.values(states), "in doubt", "last change"].map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...worklists.map((worklist) => element("tr", { class: worklist.name === this.name ? "chosen" : "" },
        element("th", { scope: "row" }, element("a", { href: `#/worklists/${encodeURIComponent(worklist.name)}` }, worklist.name)),
        ...Object.entries(states).map(([state, text]) => element("td", { "data-name": text }, count(worklist.orders[state]))),
        element("td", { "data-name": "in doubt", class: worklist.in_doubt > 0 ? "bad" : "" }, count(worklist.in_doubt)),
        element("td", { "data-name": "last change" }, worklist.last_moved ?? "–")))));
    setText(this.heading, `Orders of ${this.name}`);
    setText(this.found, orders.length === 0 ? "There are none." : `${plural(orders.length, "order")}${next === null ? "" : " and more"}, in the order in which they were listed.`);
    this.more.hidden = next === null;
    // An open order's fields stay open.
    const open = new Set([...this.list.querySelectorAll("details[open]")].map((details) => details.dataset.key));
    this.list.replaceChildren(
      element("thead", {}, element("tr", {}, ...["Order", "State", "Machine", "Since", "Priority", "Note", ""].map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...orders.map((order) => this.row(order, open.has(order.key)))));
  }

  row(order, isOpen) {
    const machine = order.state === "queued" ? order.machine ?? "any" : order.holder ?? order.machine ?? "";
    const acts = [];
    if (order.state !== "queued" && order.state !== "complete") acts.push(element("button", { type: "button", onclick: () => this.act(order, "requeue") }, "Requeue"));
    if (order.state === "queued" || order.state === "refused") acts.push(element("button", { type: "button", class: "danger", onclick: () => this.act(order, "withdraw") }, "Withdraw"));
    const details = element("details", { open: isOpen }, element("summary", {}, order.key), element("pre", {}, JSON.stringify(order.fields, null, 2)));
    details.dataset.key = order.key;
    return element("tr", {},
      element("th", { scope: "row" }, details),
      element("td", { "data-name": "State", class: order.in_doubt ? "bad" : "" }, order.in_doubt ? `${states[order.state]}, in doubt` : states[order.state]),
      element("td", { "data-name": "Machine" }, machine === "any" || machine === "" ? machine : element("a", { href: `#/machines/${encodeURIComponent(machine)}` }, machine)),
      element("td", { "data-name": "Since" }, order.since), element("td", { "data-name": "Priority" }, String(order.priority)), element("td", { "data-name": "Note" }, order.note ?? ""), element("td", {}, ...acts));
  }

  async act(order, what) {
    const isAtMachine = order.state === "handed_out" || order.state === "in_work";
    const question = what === "withdraw" ? `Withdraw the order ${order.key}?` : isAtMachine ? `The machine ${order.holder} may have worked on the order ${order.key}. Then it is made twice. Requeue it?` : `Requeue the order ${order.key}?`;
    if (!confirm(question)) return;
    try {
      const answer = await ask(`worklists/${encodeURIComponent(this.name)}/${what}`, { method: "POST", body: JSON.stringify({ orders: [order.key] }) });
      const { left } = await answer.json();
      setText(this.outcome, left.length === 0 ? "" : `The order ${order.key} stays as it is: ${left[0].why}.`);
      if (left.length === 0) this.say(what === "requeue" ? "Queued again." : "Withdrawn.");
      this.refresh?.();
    } catch (error) {
      setText(this.outcome, error.message);
    }
  }
}
