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

  /** A recording in every format of `facts.formats`, by name, recognised once; its channels mixed, or separate. */
  async hear(file, signal, separate) {
    const limit = facts.maxUploadBytes;
    if (file.size > limit) {
      throw new Problem("too_large", `The file is larger than ${limit / 1e6} MB.`, "Send a smaller one, such as FLAC or Opus, or a part of it.");
    }
    const form = new FormData();
    form.append("file", file, file.name);
    const wanted = new URLSearchParams(facts.formats.map((each) => ["format", each]));
    if (separate) wanted.append("channels", "separate");
    const answer = await this.#call(`v1/recognise?${wanted}`, { method: "POST", body: form, signal });
    return answer.json();
  }

  async #call(path, options = {}) {
    const headers = this.token === null ? {} : { Authorization: `Bearer ${this.token}` };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("unreachable", "The service does not answer.", "Is it still running, and are you connected?");
    }
    if (answer.ok) return answer;
    const told = await answer.json().catch(() => ({}));
    throw new Problem(
      told.code ?? "unknown",
      sentence(told.problem ?? `The service answers with ${answer.status}.`),
      sentence(told.remedy ?? "Try again later."),
      answer,
    );
  }
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
