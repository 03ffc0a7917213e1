// Dead letters: why each is one, what it carries, and the two ways out of the list.

import { ask, get } from "./api.js";
import { count, element, plural, setText } from "./text.js";

const advice = {
  topic: "The topic is none of Drover's. Find the client that publishes there, or correct its topic; then purge.",
  unparsable: "It is no message of the protocol, often from a client of somebody's own. Mend the client, then purge.",
  too_large: "Raise limits.message_bytes in the consumer's configuration, or frame.bytes lower at the machine, then have it sent again by its source.",
  event: "A member is missing or wrong. Mend whoever made it; it cannot be applied as it is.",
  conflict: "A fact of this ID is there with another content, and facts do not change. Find out which one is right; purge the wrong one, or delete the stored row and replay.",
  frozen: "The batch was complete, and this would have changed it. If the change is right, undo what completes it in the replica and replay.",
  ambiguous: "It could be one or another thing by its natural key. Make the key unique at the source, then replay.",
  schema: "The replica's table does not follow: drover schema list, and drover schema accept; then replay.",
  store: "The database refused it: the detail says why. Mend that, then replay.",
};

export class LettersView {
  /**
   * @param {string} machine of which letters are shown at first; empty for all.
   * @param {(text: string) => void} say
   */
  constructor(machine, say) {
    this.say = say;
    this.title = "Dead letters";
    this.every = 10_000;
    this.pages = 1;
    this.filters = {
      machine: element("input", { type: "search", id: "of-machine", autocomplete: "off", value: machine, onchange: () => this.changed() }),
      stream: element("input", { type: "search", id: "of-stream", autocomplete: "off", onchange: () => this.changed() }),
      reason: element("select", { id: "of-reason", onchange: () => this.changed() }, element("option", { value: "" }, "any"), ...Object.keys(advice).map((reason) => element("option", { value: reason }, reason))),
    };
    this.found = element("p", { class: "found", role: "status" });
    this.list = element("ul", { class: "letters" });
    this.letters = new Map();
    this.more = element("button", { type: "button", hidden: true, onclick: () => { this.pages += 1; this.refresh?.(); } }, "Show more");
    this.purge = element("button", { type: "button", class: "danger", hidden: true, onclick: () => this.purgeAll() }, "Purge all of these");
    this.root = element("div", {},
      element("h1", {}, "Dead letters"),
      element("p", {}, "What could not be applied, with the reason. Nothing here is lost, and nothing here is in the replica."),
      element("div", { class: "filters" }, element("label", { for: "of-machine" }, "Machine"), this.filters.machine, element("label", { for: "of-stream" }, "Stream"), this.filters.stream, element("label", { for: "of-reason" }, "Reason"), this.filters.reason, this.purge),
      this.found, this.list, this.more);
  }

  get query() {
    const chosen = Object.entries(this.filters).map(([name, input]) => [name, input.value.trim()]).filter(([, value]) => value !== "");
    return new URLSearchParams(chosen);
  }

  changed() {
    this.pages = 1;
    this.refresh?.();
  }

  async load(signal) {
    const query = this.query;
    let letters = [];
    let answer = { next: null };
    for (let page = 0; page < this.pages && (page === 0 || answer.next); page += 1) {
      if (answer.next) query.set("after", answer.next);
      answer = await get(`dead-letters?${query}`, signal);
      letters = letters.concat(answer.letters);
    }
    return { ...answer, letters };
  }

  update({ letters, total, newest, next }) {
    this.newest = newest;
    setText(this.found, total === 0 ? "There are none." : `${plural(total, "letter")}, those that were seen last first.`);
    this.more.hidden = next === null;
    this.purge.hidden = total === 0;
    const items = letters.map((letter) => {
      if (!this.letters.has(letter.id)) this.letters.set(letter.id, this.item(letter));
      return this.letters.get(letter.id);
    });
    items.forEach((item, index) => {
      if (this.list.children[index] !== item) this.list.insertBefore(item, this.list.children[index] ?? null);
    });
    while (this.list.children.length > items.length) this.list.lastChild.remove();
  }

  item(letter) {
    const content = element("pre");
    const outcome = element("p", { role: "status" });
    const details = element("details", { ontoggle: () => this.open(letter.id, content) },
      element("summary", {}, element("span", { class: "reason" }, letter.reason), " ", letter.machine ?? "no machine", " ", letter.stream ?? "", element("span", { class: "detail" }, letter.detail)),
      element("p", { class: "advice" }, advice[letter.reason] ?? ""),
      element("dl", { class: "facts" }, ...[["Seen", `${letter.last_seen}${letter.count > 1 ? `, ${count(letter.count)} times since ${letter.first_seen}` : ""}`], ["Topic", letter.topic ?? "–"], ["Bytes", count(letter.bytes)]]
        .map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text)))),
      content,
      element("p", { class: "row" },
        element("button", { type: "button", onclick: () => this.act(outcome, "Sent again and taken.", `dead-letters/${letter.id}/replay`, "POST") }, "Send again"),
        element("button", { type: "button", class: "danger", onclick: () => { if (confirm("It is gone for good then. Purge it?")) this.act(outcome, "Purged.", `dead-letters/${letter.id}`, "DELETE"); } }, "Purge")),
      outcome);
    return element("li", {}, details);
  }

  async open(id, content) {
    if (content.textContent) return;
    try {
      const letter = await get(`dead-letters/${id}`);
      content.textContent = letter.raw ?? (letter.raw_hex ? `not UTF-8, in hexadecimal: ${letter.raw_hex}` : JSON.stringify(letter.body ?? letter.row));
      if (letter.is_cut) content.textContent += "\n… the rest was too large to keep";
    } catch (error) {
      content.textContent = error.message;
    }
  }

  async act(outcome, done, path, method) {
    try {
      await ask(path, { method });
      this.say(done);
      this.refresh?.();
    } catch (error) {
      outcome.textContent = error.message;
    }
  }

  async purgeAll() {
    const query = this.query;
    query.set("through", this.newest);
    if (!confirm("All letters that the filters choose are gone for good then, also those further down. Purge them?")) return;
    try {
      const answer = await (await ask(`dead-letters?${query}`, { method: "DELETE" })).json();
      this.say(`Purged ${plural(answer.purged, "letter")}.`);
      this.refresh?.();
    } catch (error) {
      this.say(error.message);
    }
  }
}
