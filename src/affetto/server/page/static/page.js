// The page: takes a recording in, has it recognised, shows what came out. One recording at a time.

import facts from "./facts.js";
import { markdown } from "./markdown.js";
import { Result } from "./result.js";
import { Problem, Service } from "./service.js";
import { MOST_DECODED_S, Recorder, open, toWav } from "./sound.js";
import { clock, left } from "./text.js";

const TRIES = 5; // so often a busy service is asked again

class Page {
  constructor(root) {
    Object.assign(this, { root, service: new Service(), model: null, result: null });
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  async begin() {
    this.tellLimits();
    this.offerExamples();
    this.takeFiles();
    this.takeMicrophone();
    this.takeToken();
    this.takeVoices();
    this.find(".cancel").onclick = () => this.abort?.abort();
    this.find(".trust a").onclick = () => (this.find("#card").open = true);
    this.state("idle");
    await this.readModel();
  }

  state(name) {
    this.root.dataset.state = name;
    this.find(".idle").hidden = name === "recording" || name === "listening";
    this.find(".recording").hidden = name !== "recording";
    this.find(".listening").hidden = name !== "listening";
    for (const button of this.root.querySelectorAll(".examples button")) {
      button.disabled = name === "recording" || name === "listening";
    }
  }

  get taken() {
    return this.root.dataset.state === "recording" || this.root.dataset.state === "listening";
  }

  tellLimits() {
    const { maxDurationS, maxUploadBytes } = facts;
    const units = { hours: 3600, minutes: 60, seconds: 1 };
    const [unit, size] = Object.entries(units).find(([, each]) => maxDurationS >= 2 * each) ?? ["seconds", 1];
    const long = `${Math.floor((maxDurationS / size) * 10) / 10} ${unit}`;
    this.find(".limits").textContent =
      `wav, flac, ogg, opus, mp3 or whatever this browser can play; up to ${long} and ${maxUploadBytes / 1e6} MB. ` +
      "It goes to this service alone, which keeps nothing of it.";
  }

  offerExamples() {
    for (const name of facts.examples) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "chip", textContent: name.replace(/\.\w+$/, "") });
      button.onclick = async () => {
        const answer = await fetch(`page/demo/${name}`);
        await this.recognise(new File([await answer.blob()], name));
      };
      this.find(".examples").append(button);
    }
  }

  takeFiles() {
    const [zone, input] = [this.find(".drop"), this.find(".file")];
    input.onchange = () => {
      const [file] = input.files;
      if (file) this.recognise(file);
      input.value = ""; // so that the same file can be chosen again
    };
    const over = (is) => zone.classList.toggle("over", is);
    document.addEventListener("dragover", (event) => {
      event.preventDefault(); // else the browser would leave the page for the file
      over(!this.taken);
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      const [file] = event.dataTransfer.files;
      if (file && !this.taken) this.recognise(file);
    });
  }

  takeMicrophone() {
    const button = this.find(".record");
    button.onclick = () => this.record();
    this.find(".stop").onclick = () => this.endRecording();
    this.find(".discard").onclick = () => {
      this.recorder.discard();
      this.state("idle");
    };
    if (!Recorder.possible) {
      button.disabled = true;
      button.title = "Browsers let only this machine's own pages, and those under https, use the microphone.";
      this.find(".limits").textContent += ` ${button.title}`;
    }
  }

  async record() {
    this.clear();
    this.recorder = new Recorder();
    try {
      await this.recorder.start((seconds, loudness) => {
        this.find(".clock").textContent = clock(seconds);
        this.find(".level span").style.width = `${Math.min(100, Math.sqrt(loudness) * 100)}%`;
        if (seconds > Math.min(facts.maxDurationS, MOST_DECODED_S) - 0.5) this.endRecording();
      });
    } catch {
      this.fail(new Problem("microphone", "There is no microphone that this page may use.", "Allow it in the browser's address bar, or plug one in."));
      return;
    }
    this.find(".clock").textContent = clock(0);
    this.state("recording");
    this.find(".stop").focus();
  }

  async endRecording() {
    if (this.root.dataset.state !== "recording") return;
    this.state("listening");
    const file = await this.recorder.stop();
    if (file === null) this.fail(new Problem("recording", "Nothing was recorded.", "Try again, a little longer."));
    else await this.recognise(file);
  }

  takeToken() {
    const form = this.find(".token");
    form.onsubmit = async (event) => {
      event.preventDefault();
      this.clear();
      this.service.keep(form.querySelector("#token").value.trim());
      await this.readModel();
    };
  }

  /** Channels are voices, or speakers are told apart by theirs: not both. */
  takeVoices() {
    const [separate, speakers] = [this.find(".separate"), this.find(".speakers")];
    this.find(".speaking").hidden = !facts.tellsSpeakersApart;
    separate.onchange = () => separate.checked && (speakers.value = "");
    speakers.onchange = () => speakers.value && (separate.checked = false);
  }

  /** Reads the model's card and, with it, finds out whether the token is right. */
  async readModel() {
    const lacks = facts.asksToken && this.service.token === null;
    this.find(".token").hidden = !lacks;
    if (lacks) return;
    try {
      this.model = await this.service.model();
      this.find("#card div").replaceChildren(...markdown(this.model.card ?? "This model came without a card."));
      this.find("#card").hidden = false;
    } catch (error) {
      this.fail(error);
    }
  }

  clear() {
    this.result?.close();
    this.result = null;
    this.find(".problem").hidden = true;
    this.find(".result").hidden = true;
  }

  async recognise(file) {
    this.clear();
    this.state("listening");
    this.abort = new AbortController();
    this.opened = open(file); // by the browser itself, for the picture and for playing
    try {
      const texts = await this.ask(file);
      const recording = JSON.parse(texts.json);
      await this.opened;
      this.show(recording).finish(recording, texts);
      this.state("done");
    } catch (error) {
      this.clear();
      if (error.name === "AbortError") this.state("idle");
      else this.fail(error);
    }
  }

  /** Has it recognised. What only the browser can decode, such as a phone's m4a, is sent again as wav. */
  async ask(file) {
    try {
      return await this.askPatiently(file);
    } catch (error) {
      const buffer = error.code === "no_sound" ? (await this.opened).buffer : null;
      if (buffer === null || buffer.duration > facts.maxDurationS) throw error;
      this.clear();
      return this.askPatiently(toWav(buffer, file.name));
    }
  }

  /** What there is to be seen of a recording, of which all or a part is recognised. */
  show({ file, duration_s }) {
    if (this.result === null) {
      const result = new Result(this.root, { file, duration_s, segments: [] }, this.model);
      this.opened.then((sound) => result.take(sound));
      this.result = result;
    }
    return this.result;
  }

  async askPatiently(file) {
    for (let tried = 1; ; tried += 1) {
      this.tell(`Sending and decoding ${file.name} …`);
      try {
        const voices = { separate: this.find(".separate").checked, speakers: this.find(".speakers").value };
        return await this.service.recognise(file, this.abort.signal, voices, (step) => this.follow(file, step));
      } catch (error) {
        if (!error.busy || tried === TRIES) throw error;
        await this.wait(error.retryAfterS);
      }
    }
  }

  /** Says what is done, and how much of it; read aloud is only what is done. */
  tell(doing, { progress_s, duration_s } = {}) {
    const [line, bar, far] = [this.find(".doing"), this.find(".busy"), this.find(".far")];
    if (line.textContent !== doing) line.textContent = doing;
    const known = progress_s !== undefined;
    if (known) this.began ??= performance.now();
    else this.began = null;
    const rest = known ? left(progress_s / duration_s, (performance.now() - this.began) / 1000) : "";
    far.textContent = known ? `${clock(progress_s)} of ${clock(duration_s)}${rest}` : "";
    const done = known ? Math.floor((100 * progress_s) / duration_s) : null;
    bar.firstElementChild.style.width = known ? `${done}%` : "";
    for (const [name, value] of [["aria-valuenow", done], ["aria-valuetext", far.textContent]]) {
      if (known) bar.setAttribute(name, value);
      else bar.removeAttribute(name);
    }
  }

  follow(file, step) {
    if (step.queue > 0) this.tell(`Waiting: place ${step.queue} in the queue …`);
    else this.tell(`Listening to ${file.name} …`, step);
    if (step.segments) this.show({ file: file.name, duration_s: step.duration_s }).add(step.segments);
  }

  async wait(seconds) {
    for (let left = seconds; left > 0; left -= 1) {
      this.tell(`Many are asking at the moment. Trying again in ${left} s …`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      this.abort.signal.throwIfAborted();
    }
  }

  fail(error) {
    const shown = error instanceof Problem ? error : new Problem("page", "Something went wrong in this page.", String(error));
    if (shown.code === "unauthorised") {
      this.service.keep(null);
      this.find(".token").hidden = false;
      shown.remedy = "Check the token, and give it again.";
    }
    const problem = this.find(".problem");
    problem.dataset.code = shown.code;
    problem.querySelector("strong").textContent = shown.problem;
    problem.querySelector("p").textContent = shown.remedy;
    problem.hidden = false;
    this.state("failed");
  }
}

await new Page(document.querySelector("main")).begin();
