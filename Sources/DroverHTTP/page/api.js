// What the page asks of the consumer. The token stands in this tab's storage, or in the browser's where the person says so.

const key = "drover-token";

export class Refusal extends Error {
  constructor(status, detail, problem = {}) {
    super(detail);
    this.status = status;
    /** The whole document. */
    this.problem = problem;
  }
}

export function token() {
  return sessionStorage.getItem(key) ?? localStorage.getItem(key);
}

export function keepToken(text, isKept) {
  forgetToken();
  (isKept ? localStorage : sessionStorage).setItem(key, text);
}

export function forgetToken() {
  sessionStorage.removeItem(key);
  localStorage.removeItem(key);
}

/**
 * Asks; throws a `Refusal` with the problem's detail, or what `fetch` throws when nobody answers.
 * @param {string} path below `/v1/`
 */
export async function ask(path, options = {}) {
  const headers = { ...options.headers };
  const bearer = options.bearer ?? token();
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  const answer = await fetch(`v1/${path}`, { cache: "no-store", ...options, headers });
  if (answer.ok) return answer;
  const problem = await exact(answer).catch(() => ({}));
  throw new Refusal(answer.status, problem.detail ?? `The consumer answered ${answer.status}.`, problem);
}

/** A number as it was written: integers of 64 bits do not fit into a number of JavaScript. */
export class Figure {
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }

  toJSON() {
    // A browser without `rawJSON` sends the text of what it would round, and the server refuses that.
    return JSON.rawJSON?.(this.text) ?? (/^-?\d{16,}$/.test(this.text) ? this.text : Number(this.text));
  }
}

/** The JSON of an answer; a number that JavaScript would round is a figure. */
export async function exact(answer) {
  return JSON.parse(await answer.text(), (_, value, context) => {
    const isRounded = typeof value === "number" && context?.source !== undefined && String(value) !== context.source && !Number.isSafeInteger(value);
    return isRounded ? new Figure(context.source) : value;
  });
}

export async function get(path, signal) {
  return (await ask(path, { signal })).json();
}

/**
 * Server-sent events. `EventSource` cannot send a token, so the stream is read here.
 * @param {(event: {type: string, id: string, data: object}) => void} take
 * @param {(isOpen: boolean, why: string) => void} say told whether the stream stands, and why not.
 */
export async function follow(path, signal, take, say) {
  let last = null;
  let delay = 1000;
  while (!signal.aborted) {
    try {
      const answer = await ask(path, {
        signal, headers: { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) },
      });
      say(true, "");
      delay = 1000;
      for await (const event of events(answer.body)) {
        if (event.id) last = event.id;
        if (event.type === "gone") last = null;
        else if (event.data) take({ ...event, data: JSON.parse(event.data) });
      }
      say(false, "The stream ended; asking again.");
    } catch (error) {
      if (signal.aborted) return;
      say(false, error.message);
      if (error.status === 410) last = null;
      else if (error.status >= 400 && error.status < 500 && error.status !== 429) return;
    }
    await new Promise((resolve) => setTimeout(resolve, delay));
    delay = Math.min(delay * 2, 30_000);
  }
}

/** The events of a stream, by the format's rules (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let event = { type: "message", id: "", data: "" };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const lines = text.split(/\r\n|\n|\r/);
    text = lines.pop();
    for (const line of lines) {
      if (line === "") {
        yield event;
        event = { type: "message", id: "", data: "" };
        continue;
      }
      const [, field, content] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (field === "event") event.type = content;
      else if (field === "id") event.id = content;
      else if (field === "data") event.data += event.data ? `\n${content}` : content;
    }
  }
}
