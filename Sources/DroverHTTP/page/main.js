// Which view is shown, and when it asks again. The address's part behind # says which: #/, #/machines/NAME, #/rows/NAME/STREAM, #/rows/NAME/STREAM/ID,
// #/new-row/NAME/STREAM, #/dead-letters, #/conflicts, #/worklists, #/worklists/NAME, #/worklists/NAME/MACHINE.

import { forgetToken, get, keepToken } from "./api.js";
import { ConflictsView } from "./conflicts.js";
import { FleetView } from "./fleet.js";
import { LettersView } from "./letters.js";
import { MachineView } from "./machine.js";
import { RowView } from "./row.js";
import { RowsView } from "./rows.js";
import { count, element, setText, span } from "./text.js";
import { WorklistsView } from "./worklists.js";

const content = document.getElementById("content");
const freshness = document.getElementById("freshness");
const trouble = document.getElementById("trouble");

let view = null;
let running = null;
/** When the last answer came, by the page's own clock. */
let answered = null;

function say(text) {
  document.getElementById("said").textContent = text;
}

function chosenView() {
  const [, first, name, stream, id] = location.hash.split("/");
  const isOfRows = name && stream;
  if (first === "rows" && isOfRows && id) return new RowView(decodeURIComponent(name), decodeURIComponent(stream), decodeURIComponent(id));
  if (first === "rows" && isOfRows) return new RowsView(decodeURIComponent(name), decodeURIComponent(stream));
  if (first === "new-row" && isOfRows) return new RowView(decodeURIComponent(name), decodeURIComponent(stream), null);
  if (first === "machines" && name) return new MachineView(decodeURIComponent(name));
  if (first === "dead-letters") return new LettersView(decodeURIComponent(name ?? ""), say);
  if (first === "conflicts") return new ConflictsView(decodeURIComponent(name ?? ""), say);
  if (first === "worklists") return new WorklistsView(decodeURIComponent(name ?? ""), decodeURIComponent(stream ?? ""), say);
  return new FleetView();
}

function show() {
  running?.abort();
  running = new AbortController();
  view = chosenView();
  view.refresh = () => ask(running.signal);
  document.title = `${view.title} – Drover`;
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.dataset.page === (view instanceof LettersView ? "letters" : view instanceof ConflictsView ? "conflicts" : view instanceof WorklistsView ? "worklists" : view instanceof FleetView ? "fleet" : "");
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  content.replaceChildren(view.root);
  answered = null;
  say("");
  repeat(view.every, running.signal, ask);
  repeat(30_000, running.signal, countWaiting);
  repeat(30_000, running.signal, showWorklists);
  view.start?.(running.signal);
}

/** Does a thing now and at an interval, while somebody looks. */
async function repeat(every, signal, work) {
  while (!signal.aborted) {
    if (!document.hidden) await work(signal);
    await pause(every, signal);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

async function ask(signal) {
  try {
    const answer = await (view.load?.(signal) ?? get(view.path, signal));
    if (signal.aborted) return;
    answered = performance.now() - (answer.age_seconds ?? 0) * 1000;
    view.update(answer);
    complain(null);
  } catch (error) {
    if (signal.aborted) return;
    if (error.status === 401) askForToken();
    else complain(error.status ? error.message : "The consumer does not answer. Is it running? What stands here is what it said last.");
  }
  showFreshness();
}

/** What waits for a person, beside the links that lead there. */
async function countWaiting(signal) {
  for (const [id, path] of [["letter-count", "dead-letters"], ["conflict-count", "conflicts"]]) {
    const node = document.getElementById(id);
    try {
      const { total } = await get(`${path}?limit=1`, signal);
      node.hidden = total === 0;
      setText(node, count(total));
    } catch {
      // The view's own question says what is wrong.
    }
  }
}

/** The link to the worklists is there if the configuration has some. */
async function showWorklists(signal) {
  try {
    const { worklists } = await get("worklists", signal);
    document.getElementById("worklists").hidden = worklists.length === 0;
  } catch {
    // The view's own question says what is wrong.
  }
}

function complain(text) {
  trouble.hidden = text === null;
  setText(trouble, text ?? "");
}

/** How old the figures are: the one thing that the page knows by itself. */
function showFreshness() {
  const age = answered === null ? null : (performance.now() - answered) / 1000;
  const isOld = age !== null && age > 3 * (view.every / 1000) + 10;
  setText(freshness, age === null ? "" : isOld ? `figures of ${span(age)} ago` : "up to date");
  freshness.classList.toggle("old", isOld);
}

function askForToken() {
  running.abort();
  const input = element("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const keep = element("input", { type: "checkbox", id: "keep" });
  const form = element("form", { class: "token" },
    element("h1", {}, "A token is needed"),
    element("p", {}, "One of http.tokens in the consumer's configuration. One that only reads shows everything; to send dead letters again or to resolve conflicts takes one that writes."),
    element("p", {}, element("label", { for: "token" }, "Token"), input),
    element("p", {}, keep, element("label", { for: "keep" }, "Keep it in this browser, not only in this tab")),
    element("button", { type: "submit" }, "Show"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keepToken(input.value.trim(), keep.checked);
    show();
  });
  forgetToken();
  complain(null);
  content.replaceChildren(form);
  input.focus();
}

// MARK: The frame

const theme = document.getElementById("theme");
theme.value = localStorage.getItem("drover-theme") ?? "auto";
function paint() {
  document.documentElement.dataset.theme = theme.value;
  localStorage.setItem("drover-theme", theme.value);
}
theme.addEventListener("change", paint);
paint();

document.getElementById("skip").addEventListener("click", () => content.focus());
window.addEventListener("hashchange", () => {
  show();
  content.focus();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && running && !running.signal.aborted) ask(running.signal);
});
setInterval(showFreshness, 1000);
show();
