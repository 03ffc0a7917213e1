// Values of rows as JSON, without a loss: a number stays the text that it is, because JavaScript's own numbers end at 2^53.

class Numeral {
  constructor(text) {
    this.text = text;
  }
}

/** Parses JSON; each number of a row becomes its text. */
export function parse(text) {
  // Texts are matched too, so that no number within one is taken.
  const tagged = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) => (token.startsWith('"') ? token : `{"$numeral":"${token}"}`));
  return JSON.parse(tagged, (_, value) => (value !== null && typeof value === "object" && "$numeral" in value ? new Numeral(value.$numeral) : value));
}

/** A value as people read it. */
export function shown(value) {
  if (value === null || value === undefined) return "NULL";
  if (value instanceof Numeral) return value.text;
  if (typeof value === "string") return value;
  if ("$blob" in value) return `blob, ${Math.floor((value.$blob.length * 3) / 4)} bytes`;
  return JSON.stringify(value);
}

export function isEditable(value) {
  return value === null || value === undefined || typeof value === "string" || value instanceof Numeral;
}

/**
 * What a person has typed, as JSON text for a column.
 * @param {string} text
 * @param {string} type as the machine's table declares it
 * @param {*} before the value that was there
 */
export function written(text, type, before) {
  const isNumeral = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text.trim());
  const isText = /CHAR|CLOB|TEXT/i.test(type) && !/INT/i.test(type);
  const isNumber = /INT|REAL|FLOA|DOUB/i.test(type) || before instanceof Numeral || (type !== "" && /DEC|NUM|BOOL/i.test(type));
  return isNumeral && isNumber && !isText ? text.trim() : JSON.stringify(text);
}

/** A value that was parsed, as JSON text. */
export function same(value) {
  return value instanceof Numeral ? value.text : JSON.stringify(value ?? null);
}
