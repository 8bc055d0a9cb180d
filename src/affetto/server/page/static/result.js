// The result: the statement, the picture, the words, and files to keep.

import facts from "./facts.js";
import { clock, element, exactClock, percent } from "./text.js";
import { drawAxis, drawLanes, drawSegments, drawWave, hideCutTags, paint, stated } from "./wave.js";

const DOUBTFUL = 0.5; // words less sure than this are dotted
const MEDIA_TYPES = { json: "application/json", csv: "text/csv", vtt: "text/vtt" };
const ENDINGS = { textgrid: "TextGrid" };
const FEW = 3; // so many parts need no choosing among them
const LONG = 12; // more parts get a list that scrolls by itself
const CLOSEST_S = 5; // less than this is not shown at a time

/**
 * Shows a result.
 *
 * @param root the page's element
 * @param heard texts by format; the sound, as `open` gives it; the model, or null
 * @returns a function that stops and frees what the result holds
 */
export function show(root, { texts, sound, model }) {
  const shown = new Shown(root, JSON.parse(texts.json), sound);
  shown.state(model);
  shown.draw();
  shown.words();
  shown.downloads(texts);
  shown.open();
  return () => shown.close();
}

class Shown {
  constructor(root, recording, { buffer, player }) {
    Object.assign(this, { root, recording, buffer, chosen: null, filter: null, paused: null, zoom: 1, urls: [] });
    this.player = player((seconds) => this.follow(seconds));
    this.keys = (event) => this.press(event);
    document.addEventListener("keydown", this.keys);
  }

  /** The numbers of the separate channels; [null] where they are mixed. */
  get channels() {
    return this.recording.channels?.map((each) => each.channel) ?? [null];
  }

  /** The places of the parts that are not filtered out. */
  get visible() {
    return this.recording.segments.map((_, place) => place).filter((place) => this.isWanted(this.recording.segments[place]));
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
    const [grid, axis, first] = [this.find(".time"), this.find(".axis-name"), this.find(".wave")];
    const choose = (place) => this.choose(place);
    grid.querySelectorAll(".more, .lane, .lane-name").forEach((old) => old.remove());
    this.buttons = [];
    this.find(".voice").textContent = this.channels.length > 1 ? "channel 1" : "";
    this.waves = this.channels.map((channel, place) => {
      const wave = place === 0 ? first : first.cloneNode(true);
      if (place > 0) {
        wave.classList.add("more");
        grid.insertBefore(element("div", "gutter voice more", `channel ${channel}`), axis);
        grid.insertBefore(wave, axis);
      }
      drawSegments(wave.querySelector(".segments"), this.recording, channel, this.buttons, choose);
      return wave;
    });
    if (this.recording.channels === undefined) drawLanes(grid, axis, this.recording, choose);
    this.find(".whole").onclick = () => this.choose(null);
    const button = this.find(".play");
    button.disabled = this.player === null;
    button.onclick = () => this.playOrPause();
    this.find(".into").onclick = () => this.show(2 * this.zoom);
    this.find(".out").onclick = () => this.show(this.zoom / 2);
    this.show(1);
    const hint = this.player === null ? "This browser cannot play this kind of file." : "Click a coloured part, or a word, to hear it.";
    this.find(".hint").textContent = this.recording.segments.length > 0 || this.player === null ? hint : "";
    this.follow(null);
  }

  /** Shows a part of it, as many times as wide as all of it would be; what was in the middle stays there. */
  show(zoom) {
    const grid = this.find(".time");
    const middle = (grid.scrollLeft + grid.clientWidth / 2) / grid.scrollWidth;
    this.zoom = zoom;
    grid.style.setProperty("--zoom", zoom);
    this.waves.forEach((wave, place) => {
      drawWave(wave.querySelector(".picture"), this.recording, this.buffer, this.channels[place], zoom);
    });
    this.find(".out").disabled = zoom === 1;
    this.find(".into").disabled = this.recording.duration_s / zoom < 2 * CLOSEST_S;
    this.find(".zoom").hidden = this.recording.segments.length === 0;
    grid.scrollLeft = middle * grid.scrollWidth - grid.clientWidth / 2;
  }

  /** Needs the result to be visible: what fits on the axis depends on its width. */
  open() {
    this.find(".result").hidden = false;
    const axis = this.find(".axis");
    this.observer = new ResizeObserver(() => {
      drawAxis(axis, this.recording.duration_s);
      hideCutTags(this.buttons);
    });
    this.observer.observe(axis);
    this.find(".statement").focus({ preventScroll: true });
    this.find(".result").scrollIntoView({ block: "nearest" });
  }

  choose(place) {
    this.chosen = place;
    this.bars(place);
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === place)));
    this.rows.forEach((row, i) => row.classList.toggle("chosen", i === place));
    if (place === null) this.player?.stop();
    else {
      this.scrollTo(place);
      this.mark(this.recording.segments[place].start_s); // also where nothing can be played
      this.play(this.recording.segments[place]);
    }
  }

  /** Chooses the part before or after the chosen one, of those that are shown. */
  step(by) {
    const places = this.visible;
    const next = this.chosen === null ? (by > 0 ? 0 : places.length - 1) : places.indexOf(this.chosen) + by;
    if (next in places) this.choose(places[next]);
  }

  /** Chooses the surest part of those that are shown, and the next surest when asked again. */
  surest() {
    const { segments } = this.recording;
    const sure = (place) => Math.max(...Object.values(segments[place].probabilities));
    const places = this.visible.sort((one, other) => sure(other) - sure(one));
    this.choose(places[(places.indexOf(this.chosen) + 1) % places.length]);
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
    const own = event.target.closest("button, a, summary"); // it has a use for the space bar, unless something plays
    if (event.key === " " && this.player !== null && (own === null || this.player.playing)) {
      own?.addEventListener("keyup", (released) => released.preventDefault(), { once: true });
      this.playOrPause();
    } else if (event.key === "ArrowRight") this.step(1);
    else if (event.key === "ArrowLeft") this.step(-1);
    else return;
    event.preventDefault();
  }

  play({ start_s: startS, end_s: endS }) {
    this.paused = null;
    this.player?.play(startS, endS);
  }

  playOrPause() {
    const { at } = this;
    if (this.player.playing) {
      this.player.stop();
      this.paused = at;
      this.mark(at);
    } else this.play({ start_s: this.paused ?? 0, end_s: this.recording.duration_s });
  }

  /** What is played; null: nothing. */
  follow(seconds) {
    this.at = seconds;
    const button = this.find(".play");
    button.classList.toggle("playing", seconds !== null);
    button.setAttribute("aria-label", seconds === null ? "Play the recording" : "Pause");
    this.mark(seconds);
    const { segments } = this.recording;
    const lasts = ({ start_s: startS, end_s: endS }) => seconds !== null && startS <= seconds && seconds < endS;
    const now = segments.findIndex(lasts);
    if (now !== -1 && now !== this.now) this.scrollTo(now);
    this.now = now;
    this.rows?.forEach((row, i) => row.classList.toggle("now", i === now));
    const said = this.rows?.filter((_, i) => lasts(segments[i])).flatMap((row) => [...row.querySelectorAll(".word")]) ?? [];
    for (const word of [...this.root.querySelectorAll(".word.spoken"), ...said]) {
      word.classList.toggle("spoken", lasts({ start_s: Number(word.dataset.start), end_s: Number(word.dataset.end) }));
    }
  }

  /** Moves the line, and the picture with it where it would leave it; null: there is none. */
  mark(seconds) {
    for (const line of this.root.querySelectorAll(".head-line")) {
      line.hidden = seconds === null;
      line.style.left = `${(100 * (seconds ?? 0)) / this.recording.duration_s}%`;
    }
    this.find(".now").textContent = clock(seconds ?? 0);
    if (seconds === null || this.zoom === 1) return;
    const [grid, wave] = [this.find(".time"), this.find(".wave")];
    const [before, seen] = [wave.offsetLeft - grid.offsetLeft, (wave.offsetWidth * seconds) / this.recording.duration_s];
    if (seen < grid.scrollLeft || seen > grid.scrollLeft + grid.clientWidth - before) {
      grid.scrollLeft = seen - (grid.clientWidth - before) / 4;
    }
  }

  /** Brings a part into view in a list that scrolls by itself. */
  scrollTo(place) {
    const [list, row] = [this.find(".words"), this.rows[place]];
    if (!list.classList.contains("long")) return;
    const above = row.offsetTop - list.offsetTop;
    if (above < list.scrollTop || above + row.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = above - 60;
  }

  isWanted(segment) {
    return this.filter === null || this.filter === stated(segment) || this.filter === `channel ${segment.channel}`;
  }

  /** Buttons that show only what states an emotion, or what is in a channel; and one for the surest of it. */
  filters() {
    const { segments } = this.recording;
    const counts = new Map([[null, segments.length]]);
    const kinds = [...segments.map(stated).sort(), ...segments.filter((each) => "channel" in each).map((each) => `channel ${each.channel}`).sort()];
    for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    const chips = [...counts].map(([kind, count]) => {
      const chip = element("button", "chip", `${kind ?? "all"} (${count})`);
      chip.type = "button";
      chip.onclick = () => this.only(kind, chip);
      return chip;
    });
    const surest = element("button", "chip", "the surest");
    surest.type = "button";
    surest.onclick = () => this.surest();
    this.find(".filters").replaceChildren(...chips, surest);
    this.find(".filters").hidden = segments.length <= FEW;
    this.only(null, chips[0]);
  }

  only(kind, pressed) {
    this.filter = kind;
    for (const chip of this.find(".filters").querySelectorAll(".chip:not(:last-child)")) {
      chip.setAttribute("aria-pressed", String(chip === pressed));
    }
    this.recording.segments.forEach((segment, place) => {
      this.rows[place].hidden = !this.isWanted(segment);
      this.buttons[place].classList.toggle("dim", !this.isWanted(segment));
    });
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
      if ("channel" in segment) text.prepend(element("span", "voice", `channel ${segment.channel} `));
      row.append(time, tag, text);
      return row;
    });
    this.rows = rows;
    this.find(".words").replaceChildren(...rows);
    this.find(".words").classList.toggle("long", rows.length > LONG);
    this.filters();
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
      link.download = `${stem}.${ENDINGS[format] ?? format}`;
      this.urls.push(link.href);
      row.append(link);
    }
  }

  close() {
    document.removeEventListener("keydown", this.keys);
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
  if (recording.channels !== undefined) {
    const each = recording.channels.map((one) => `channel ${one.channel}: ${one.emotion === null ? "no speech" : stated(one)}`);
    return `${whole}; ${each.join(", ")}`;
  }
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
