// Figures as people read them, and elements made in one line.

const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const grouped = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** A time span in seconds: "3 s", "12 min". Two units would be more exact than anybody reads. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  const [length, unit] = units.find(([length]) => seconds >= 2 * length) ?? [1, "s"];
  return `${Math.floor(seconds / length)} ${unit}`;
}

/** A clock's difference, with its sign. */
export function offset(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  return `${seconds < 0 ? "−" : "+"}${span(Math.abs(seconds))}`;
}

export function count(number) {
  if (number === null || number === undefined) return "–";
  return number < 100_000 ? grouped.format(number) : short.format(number);
}

/** Events a second. */
export function rate(number) {
  if (number === null) return "–";
  if (number === 0) return "0/s";
  return `${number < 10 ? number.toFixed(number < 1 ? 2 : 1) : count(Math.round(number))}/s`;
}

export function bytes(number) {
  if (number === null || number === undefined) return "–";
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(names.length - 1, Math.floor(Math.log2(Math.max(1, number)) / 10));
  return `${(number / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${names[power]}`;
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** The names, or the first of them and how many follow. */
export function list(names, most = 5) {
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${plural(names.length - most, "other")}` : shown;
}

/**
 * An element. Texts are set as texts, so nothing that a machine says becomes markup.
 * @param {string} tag
 * @param {object} properties `class`, `on…` for what is done on an event, attributes else; null and false are left out.
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Sets a text only where it is another: a screen reader speaks up, and a selection goes, when it is set. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
