// The service, as everyone calls it: the page has no other way to it than its API.

import facts from "./facts.js";

/** What went wrong, in the shape in which the service tells it. */
export class Problem extends Error {
  constructor(code, problem, remedy, { status = 0, headers = new Headers() } = {}) {
    super(problem);
    const busy = status === 429 || status === 503; // a proxy may say so in words of its own
    Object.assign(this, { code, problem, remedy, busy, retryAfterS: Number(headers.get("Retry-After")) || 1 });
  }
}

/** Calls the service with a token, if it asks for one; the token stays in the tab. */
export class Service {
  constructor() {
    this.token = facts.asksToken ? sessionStorage.getItem("affetto-token") : null;
  }

  keep(token) {
    this.token = token;
    if (token === null) sessionStorage.removeItem("affetto-token");
    else sessionStorage.setItem("affetto-token", token);
  }

  /** What the service hears with; null where there is no card to read. */
  async model() {
    const answer = await this.#call("v1/models");
    return (await answer.json()).models[0];
  }

  /**
   * A recording in every format of `facts.formats`, by name, recognised once; its channels mixed, or separate;
   * `speakers` is how many are told apart, "auto", or "".
   * `onProgress` gets how far it is, and stretches of speech that are there, as the service sends them.
   */
  async recognise(file, signal, { separate, speakers }, onProgress) {
    const limit = facts.maxUploadBytes;
    if (file.size > limit) {
      throw new Problem("too_large", `The file is larger than ${limit / 1e6} MB.`, "Send a smaller one, such as FLAC or Opus, or a part of it.");
    }
    const form = new FormData();
    form.append("file", file, file.name);
    const wanted = new URLSearchParams([["progress", "true"], ...facts.formats.map((each) => ["format", each])]);
    if (separate) wanted.append("channels", "separate");
    if (speakers) wanted.append("speakers", speakers);
    const answer = await this.#call(`v1/recognise?${wanted}`, { method: "POST", body: form, signal });
    let result;
    for await (const line of lines(answer)) {
      if ("progress_s" in line) onProgress(line);
      else result = line;
    }
    if (result === undefined) throw unreachable();
    if ("code" in result) throw problem(result);
    return result;
  }

  async #call(path, options = {}) {
    const headers = this.token === null ? {} : { Authorization: `Bearer ${this.token}` };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch (error) {
      throw unreachable(error);
    }
    if (answer.ok) return answer;
    throw problem(await answer.json().catch(() => ({})), answer);
  }
}

/** The lines of an answer, as they come. */
async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw unreachable(error);
    });
    if (done) break;
    text += value;
    if (!value.includes("\n")) continue;
    const ended = text.split("\n");
    text = ended.pop();
    yield* ended.map((line) => JSON.parse(line));
  }
  if (text !== "") yield JSON.parse(text);
}

/** What it means that a call failed; who cancelled it knows. */
function unreachable(error) {
  if (error?.name === "AbortError") return error;
  return new Problem("unreachable", "The service does not answer.", "Is it still running, and are you connected?");
}

function problem(body, answer = {}) {
  return new Problem(
    body.code ?? "unknown",
    sentence(body.problem ?? `The service answers with ${answer.status}.`),
    sentence(body.remedy ?? "Try again later."),
    answer,
  );
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
