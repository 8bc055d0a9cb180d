// The result: the statement, the picture, the words, and files to keep.

import facts from "./facts.js";
import { Player } from "./sound.js";
import { clock, element, exactClock, percent } from "./text.js";
import { drawAxis, drawLanes, drawSegments, drawWave, hideCutTag, paint, stated } from "./wave.js";

const DOUBTFUL = 0.5; // words less sure than this are dotted
const MEDIA_TYPES = { json: "application/json", csv: "text/csv", vtt: "text/vtt" };

/**
 * Shows a result.
 *
 * @param root the page's element
 * @param heard texts by format; the decoded sound, or null; the model, or null
 * @returns a function that stops and frees what the result holds
 */
export function show(root, { texts, buffer, model }) {
  const shown = new Shown(root, JSON.parse(texts.json), buffer);
  shown.state(model);
  shown.draw();
  shown.words();
  shown.downloads(texts);
  shown.open();
  return () => shown.close();
}

class Shown {
  constructor(root, recording, buffer) {
    Object.assign(this, { root, recording, buffer, chosen: null, urls: [] });
    this.player = buffer === null ? null : new Player(buffer, (seconds) => this.follow(seconds));
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  state(model) {
    const { recording } = this;
    const statement = recording.emotion === null ? "no speech" : stated(recording);
    const headline = this.find(".statement");
    headline.textContent = statement;
    paint(headline, statement);
    this.find(".source").textContent = `${recording.file} · ${exactClock(recording.duration_s)}`;
    this.find(".how").textContent = howSure(recording);
    this.find(".trust span").textContent = trust(model);
    this.bars(null);
  }

  /** A bar for each emotion, of a stretch of speech, or of the whole where that is null. */
  bars(place) {
    const { probabilities } = place === null ? this.recording : this.recording.segments[place];
    const many = this.recording.segments.length;
    this.find(".bars h3").textContent =
      place === null ? (many > 1 ? "The whole recording" : "How sure it is") : `Part ${place + 1} of ${many}`;
    this.find(".whole").hidden = place === null || many < 2;
    const rows = Object.entries(probabilities).map(([emotion, share]) => {
      const row = element("div", "bar");
      const track = element("dd", "track");
      const fill = element("span", "fill");
      fill.style.width = `${100 * share}%`;
      track.append(fill);
      paint(row, emotion);
      row.append(element("dt", "", emotion), track, element("dd", "share", percent(share)));
      return row;
    });
    this.find(".bars dl").replaceChildren(...rows);
    this.find(".bars").hidden = many === 0;
  }

  draw() {
    const choose = (place) => this.choose(place);
    drawWave(this.find(".picture"), this.recording, this.buffer);
    this.buttons = drawSegments(this.find(".segments"), this.recording, choose);
    drawLanes(this.find(".time"), this.find(".axis-name"), this.recording, choose);
    this.find(".whole").onclick = () => this.choose(null);
    const button = this.find(".play");
    button.disabled = this.player === null;
    button.onclick = () => this.playOrStop();
    const hint = this.player === null ? "This browser cannot play this kind of file." : "Click a coloured part, or a word, to hear it.";
    this.find(".hint").textContent = this.recording.segments.length > 0 || this.player === null ? hint : "";
    this.follow(null);
  }

  /** Needs the result to be visible: what fits on the axis depends on its width. */
  open() {
    this.find(".result").hidden = false;
    const axis = this.find(".axis");
    this.observer = new ResizeObserver(() => {
      drawAxis(axis, this.recording.duration_s);
      for (const button of this.buttons) hideCutTag(button);
    });
    this.observer.observe(axis);
    this.find(".statement").focus({ preventScroll: true });
    this.find(".result").scrollIntoView({ block: "nearest" });
  }

  choose(place) {
    this.chosen = place;
    this.bars(place);
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === place)));
    this.find(".words").childNodes.forEach((row, i) => row.classList.toggle("chosen", i === place));
    if (place === null) this.player?.stop();
    else this.play(this.recording.segments[place]);
  }

  play({ start_s: startS, end_s: endS }) {
    this.player?.play(startS, endS);
  }

  playOrStop() {
    if (this.player.playing) this.player.stop();
    else this.play({ start_s: 0, end_s: this.buffer.duration });
  }

  /** Moves the line; null: nothing is played. */
  follow(seconds) {
    const [line, button] = [this.find(".head-line"), this.find(".play")];
    line.hidden = seconds === null;
    line.style.left = `${(100 * (seconds ?? 0)) / this.recording.duration_s}%`;
    this.find(".now").textContent = clock(seconds ?? 0);
    button.classList.toggle("playing", seconds !== null);
    button.setAttribute("aria-label", seconds === null ? "Play the recording" : "Stop");
    for (const word of this.root.querySelectorAll(".word")) {
      const is = seconds !== null && seconds >= Number(word.dataset.start) && seconds < Number(word.dataset.end);
      word.classList.toggle("spoken", is);
    }
  }

  words() {
    const rows = this.recording.segments.map((segment, place) => {
      const row = element("li", "");
      const time = element("button", "link when", `${exactClock(segment.start_s)}`);
      time.type = "button";
      time.setAttribute("aria-label", `Play from ${exactClock(segment.start_s)} to ${exactClock(segment.end_s)}`);
      time.onclick = () => this.choose(place);
      const tag = element("span", "tag", stated(segment));
      paint(tag, stated(segment));
      const text = element("span", "text");
      for (const word of segment.words) text.append(this.word(word), " ");
      if (segment.words.length === 0) text.append(element("em", "", "no words recognised"));
      row.append(time, tag, text);
      return row;
    });
    this.find(".words").replaceChildren(...rows);
    const doubtful = this.recording.segments.some((each) => each.words.some((word) => word.confidence < DOUBTFUL));
    this.find(".words-note").textContent = doubtful ? "Dotted words may well be others." : "";
    this.find(".words").previousElementSibling.hidden = rows.length === 0;
  }

  word(word) {
    const button = element("button", "word", word.text);
    button.type = "button";
    button.title = `${exactClock(word.start_s)}, ${percent(word.confidence)} sure`;
    Object.assign(button.dataset, { start: word.start_s, end: word.end_s });
    button.classList.toggle("doubtful", word.confidence < DOUBTFUL);
    button.onclick = () => this.play(word);
    return button;
  }

  downloads(texts) {
    const row = this.find(".downloads");
    row.querySelectorAll("a").forEach((old) => old.remove());
    const stem = this.recording.file.replace(/\.[^.]*$/, "") || "affetto";
    for (const format of facts.formats) {
      const link = element("a", "button small", format.toUpperCase());
      link.href = URL.createObjectURL(new Blob([texts[format]], { type: MEDIA_TYPES[format] }));
      link.download = `${stem}.${format}`;
      this.urls.push(link.href);
      row.append(link);
    }
  }

  close() {
    this.player?.close();
    this.observer?.disconnect();
    this.urls.forEach((url) => URL.revokeObjectURL(url));
  }
}

function howSure(recording) {
  if (recording.emotion === null) {
    return recording.silent ? "There is no sound at all in it: was the microphone on?" : "There is sound, but nobody seems to speak.";
  }
  const best = percent(recording.probabilities[recording.emotion]);
  const doubt = recording.familiar ? `most likely ${recording.emotion}, but only ${best} probable` : "unlike all that the model was trained on";
  const whole = recording.sure ? `${best} probable, by its own reckoning` : doubt;
  if (recording.segments.length < 2) return whole;
  const shares = { ...recording.shares, "not sure": recording.unsure_share };
  const parts = Object.entries(shares).filter(([, share]) => share > 0);
  return `${whole}; of the speech, ${parts.map(([name, share]) => `${name} ${percent(share)}`).join(", ")}`;
}

/** One sentence: what a result means, and how far to trust it. */
function trust(model) {
  const right = model?.facts?.emotion?.test?.accuracy;
  const measured =
    right === undefined
      ? "how often it is right was not measured for this model"
      : `when tested on voices that it had not heard before, it was right ${Math.round(100 * right)} times in 100, and elsewhere it may be less`;
  return `This is a guess from the sound of a voice, not what anyone feels: ${measured}, so do not judge people by it`;
}
