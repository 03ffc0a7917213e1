// What is wrong, and what to do about it. The figures are the consumer's; what counts as wrong here is what most people want to hear of, and
// `alerts` in the configuration says it more exactly.

import { bytes, element, list, offset, plural, span } from "./text.js";

const limits = { oldestSeconds: 600, clockSeconds: 60, freeBytes: 1 << 30, ageSeconds: 30, budgetSeconds: 60 };

/**
 * Each kind of trouble: whether a machine has it, how bad it is (3 worst), in a word for its row, and in sentences for the list above; and what the
 * machine itself says to do about it, where it does.
 */
const kinds = [
  {
    name: "cloned", level: 3,
    has: (m) => m.troubles?.some((trouble) => trouble.kind === "cloned"),
    word: () => "two machines of this name",
    title: (n) => `${plural(n, "name belongs", "names belong")} to two machines each`,
    advice: "A card or a disk was copied. The consumer applies nothing from either, and both wait, until only one is heard: give one of them another name (machine: in its configuration) and restart its agent, or switch it off.",
  },
  {
    name: "session", level: 3,
    has: (m) => m.troubles?.some((trouble) => trouble.kind === "session"),
    word: () => "session taken by another client",
    title: (n) => `Another client takes the session of ${plural(n, "machine")} again and again`,
    advice: "Find the other program with this client_id: a second agent of the machine, a copied card, a tool. Bind client IDs to users at the broker.",
  },
  {
    name: "offline", level: 3,
    has: (m) => m.online === false,
    word: () => "offline",
    title: (n) => `${plural(n, "machine is", "machines are")} offline`,
    advice: "Their events stay on their disks and are sent when they are back. Check the machine's power and network, then its agent: drover status there.",
  },
  {
    name: "oldest", level: 3,
    has: (m) => (m.outbox?.oldest_unconfirmed_seconds ?? 0) > limits.oldestSeconds,
    word: (m) => `unconfirmed for ${span(m.outbox.oldest_unconfirmed_seconds)}`,
    title: (n) => `${plural(n, "machine has", "machines have")} events that wait for more than ${span(limits.oldestSeconds)}`,
    advice: "They may be offline, a backlog may be draining, or the cloud cannot accept a stream: drover status on the machine says which stream waits, and drover schema list here shows the schemas that wait.",
  },
  {
    name: "waits", level: 3,
    has: (m) => (m.waits ?? []).length > 0,
    word: (m) => m.waits.map((wait) => `${wait.stream} waits there: ${wait.reason}`).join("; "),
    own: (m) => m.waits.map((wait) => `${wait.stream} (${wait.table}): ${wait.advice}.`).join(" "),
    title: (n) => `${plural(n, "machine has", "machines have")} a stream that waits because of its table`,
    advice: "Only that stream waits, and it goes on by itself when its table is as configured again. The machine's page says which table and what to do; so does drover status there.",
  },
  {
    name: "disk", level: 3,
    has: (m) => m.outbox?.free_bytes !== null && m.outbox?.free_bytes !== undefined && m.outbox.free_bytes < limits.freeBytes,
    word: (m) => `${bytes(m.outbox.free_bytes)} free`,
    title: (n) => `${plural(n, "machine has", "machines have")} less than ${bytes(limits.freeBytes)} of disk left`,
    advice: "When the disk is full, the app cannot commit either. Free space on the machine; drover doctor there says how much is left.",
  },
  {
    name: "budget", level: 2,
    has: (m) => (m.over_budget ?? []).some((each) => each.last_seconds < limits.budgetSeconds),
    word: (m) => `over ${list(m.over_budget.filter((each) => each.last_seconds < limits.budgetSeconds).map((each) => each.budget))}`,
    title: (n) => `${plural(n, "machine sends", "machines send")} more than ${n === 1 ? "its" : "their"} budget allows`,
    advice: "Messages beyond the budget are set aside and counted; an agent re-sends them later. Look at what the machine sends; if that is right, raise the limit.",
  },
  {
    name: "drift", level: 2,
    has: (m) => (m.drift ?? 0) > 0,
    word: (m) => `${plural(m.drift, "row differs", "rows differ")}`,
    title: (n) => `The replica of ${plural(n, "machine")} differs from its source`,
    advice: "Somebody has changed the replica, or the machine's table in a way that Drover cannot see. drover check --repair re-sends the rows that differ.",
  },
  {
    name: "letters", level: 2,
    has: (m) => m.dead_letters > 0,
    word: (m) => plural(m.dead_letters, "dead letter"),
    title: (n) => `${plural(n, "machine has", "machines have")} dead letters here`,
    advice: "Each has its reason. Replay it when the reason is gone.",
    link: "dead-letters",
  },
  {
    name: "conflicts", level: 2,
    has: (m) => (m.conflicts ?? 0) > 0,
    word: (m) => plural(m.conflicts, "conflict"),
    title: (n) => `Conflicts of ${plural(n, "machine")} wait for a person`,
    advice: "Both sides edited the same rows without knowing of each other. One value won on both sides, and the other one is kept until a person decides.",
    link: "conflicts",
  },
  {
    name: "refused rows", level: 2,
    has: (m) => (m.refused_rows ?? 0) > 0,
    word: (m) => `${plural(m.refused_rows, "row")} refused there`,
    title: (n) => `${plural(n, "machine refuses", "machines refuse")} rows from the cloud`,
    advice: "The machine's own tables refuse them, such as a UNIQUE or a foreign key: they are dead letters there. drover dead list shows each with its cause. An edit that the table takes clears it.",
  },
  {
    name: "edge letters", level: 2,
    has: (m) => (m.outbox?.dead_letters ?? 0) > (m.refused_rows ?? 0),
    word: (m) => `${plural(m.outbox.dead_letters - (m.refused_rows ?? 0), "dead letter")} at the machine`,
    title: (n) => `${plural(n, "machine has", "machines have")} dead letters of ${n === 1 ? "its" : "their"} own`,
    advice: "These events could not be sent, such as one that is larger than the broker takes. On the machine: drover dead list.",
  },
  {
    name: "checks", level: 1,
    has: (m) => m.failed_checks > 0,
    word: () => "not compared",
    title: (n) => `${plural(n, "machine")} could not be compared at the last try`,
    advice: "The machine's page says why; a machine that is away is compared when it is back.",
  },
  {
    name: "clock", level: 1,
    has: (m) => Math.abs(m.clock_offset_seconds ?? 0) > limits.clockSeconds,
    word: (m) => `clock ${offset(m.clock_offset_seconds)}`,
    title: (n) => `${plural(n, "machine has", "machines have")} a clock that is more than ${span(limits.clockSeconds)} off`,
    advice: "Order and delivery do not depend on it, but times in reports do. Set the clock, and keep it right with chrony or systemd-timesyncd.",
  },
];

/** The troubles of a machine, the worst first. */
export function problems(machine) {
  return kinds.filter((kind) => kind.has(machine)).map(({ level, word, advice, link, own }) => (
    { level, text: word(machine), advice: own?.(machine) ?? advice, link: link ? `#/${link}/${encodeURIComponent(machine.machine)}` : null }));
}

/** How bad a machine's state is: 0 when all is well. */
export function severity(machine) {
  return Math.max(0, ...kinds.filter((kind) => kind.has(machine)).map((kind) => kind.level));
}

/** The troubles of a fleet, each once, with the machines that have it. */
export function troubles(fleet) {
  // What the operator's own rules have found stands first.
  const all = (fleet.alerts ?? []).map(({ id, text, since, advice }) => (
    { name: id, level: 4, title: `Alert: ${text}`, text: `since ${new Date(since).toLocaleString("en", { hour12: false })}`, advice }));
  if (fleet.consumer.running === false) {
    all.push({ level: 3, title: "The consumer is not running", text: "", advice: "Nothing is applied or confirmed until it runs; the machines keep everything. drover doctor says what prevents it." });
  }
  for (const job of fleet.consumer.stuck) {
    all.push({ level: 3, title: `The consumer's ${job} no longer moves`, text: "", advice: "Its log says what it waits for; ending it is safe, and it goes on where it was." });
  }
  if (fleet.age_seconds > limits.ageSeconds) {
    all.push({ level: 2, title: `These figures are ${span(fleet.age_seconds)} old`, text: "", advice: "The consumer could not read its store meanwhile; its log says why." });
  }
  for (const schema of fleet.waiting_schemas) {
    all.push({ level: 2, title: `${schema.stream} of ${schema.machine} waits for a person`, text: schema.reason, advice: "Its events wait at the machine, and nothing is lost. drover schema accept lets the replica follow; a table that cannot follow keeps its rows under another name, and is made anew. What the configuration says otherwise is changed there." });
  }
  if (fleet.locked) {
    all.push({ level: 3, name: "locked", title: `The store is locked by ${fleet.locked.by}`, text: `Every stream waits since ${new Date(fleet.locked.since).toLocaleString("en", { hour12: false })}`, advice: `Its events wait at the machines. ${fleet.locked.advice}.` });
  }
  for (const sink of fleet.blocked_sinks ?? []) {
    all.push({ level: 3, name: `blocked ${sink.stream} ${sink.machine ?? ""}`, title: `The table ${sink.table} cannot be written`, text: `${sink.stream} of ${sink.machine ?? "all machines"} waits since ${new Date(sink.since).toLocaleString("en", { hour12: false })}: ${sink.text}`, advice: `Its events wait at the machines, and nothing is lost; all other streams go on. ${sink.advice}.` });
  }
  for (const { name, has, level, title, advice, link } of kinds) {
    const names = fleet.machines.filter(has).map((machine) => machine.machine);
    if (names.length > 0) all.push({ name, level, title: title(names.length), text: list(names), advice, link: link ? `#/${link}` : null });
  }
  return all.sort((a, b) => b.level - a.level);
}

/**
 * Shows troubles in a list: each in a line, and what to do about it when it is opened. What is open stays open while the same is wrong.
 * @param {{level: number, title: string, text: string, advice: string, link: string | null}[]} all
 */
export function showTroubles(list, all, otherwise) {
  const shown = JSON.stringify([all, otherwise]);
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  const open = new Set([...list.querySelectorAll("details[open] strong")].map((title) => title.dataset.kind));
  list.replaceChildren(...all.map(({ name, level, title, text, advice, link }) => element("li", { class: `level${level}` },
    element("details", { open: open.has(name ?? title) },
      element("summary", {}, element("strong", { "data-kind": name ?? title }, title), text ? ` ${text}` : null),
      element("p", { class: "advice" }, advice, link ? " " : null, link ? element("a", { href: link }, "Look at them") : null)))));
  if (all.length === 0 && otherwise) list.append(element("li", { class: "level0" }, otherwise));
}
