// The result: the statement, the picture, the words, and files to keep; or as much of it as is there.

import facts from "./facts.js";
import { clock, element, exactClock, percent } from "./text.js";
import { DOUBTFUL, line } from "./words.js";
import { drawAxis, drawCells, drawLanes, drawWave, hideCutTags, paint, segmentButton, stated, voiceOf } from "./wave.js";

const MEDIA_TYPES = { json: "application/json", csv: "text/csv", vtt: "text/vtt" };
const ENDINGS = { textgrid: "TextGrid" };
const FEW = 3; // so many parts need no choosing among them
const LONG = 12; // more parts get a list that scrolls by itself
const CLOSEST_S = 5; // less than this is not shown at a time

/** Shows a recording: stretches of speech as they come, and the whole when all is there. */
export class Result {
  /**
   * @param root the page's element
   * @param recording its file and duration_s, and segments: none yet
   * @param model as the service describes it, or null
   */
  constructor(root, recording, model) {
    Object.assign(this, { root, recording, ranges: model?.dimensions ?? {}, buffer: null, chosen: null, filter: null, paused: null, zoom: 1 });
    this.player = undefined; // null: it cannot be played
    Object.assign(this, { urls: [], waves: [], lanes: null, parts: new Map(), closed: false });
    this.keys = (event) => this.press(event);
    document.addEventListener("keydown", this.keys);
    this.find(".time").querySelectorAll(".more, .lane, .lane-name").forEach((old) => old.remove());
    this.find(".words").replaceChildren();
    this.find(".trust span").textContent = trust(model);
    this.find(".whole").onclick = () => this.choose(null);
    this.find(".play").onclick = () => this.playOrPause();
    this.find(".into").onclick = () => this.show(2 * this.zoom);
    this.find(".out").onclick = () => this.show(this.zoom / 2);
    this.find(".downloads").hidden = true;
    this.find(".result").hidden = false;
    this.follow(null);
    const axis = this.find(".axis"); // what fits on it depends on its width
    this.observer = new ResizeObserver(() => {
      drawAxis(axis, this.recording.duration_s);
      this.hideCutTags();
    });
    this.observer.observe(axis);
  }

  /** Whether all of it is there. */
  get whole() {
    return this.recording.emotion !== undefined;
  }

  /** What tells voices apart: "channel" or "speaker"; undefined where nothing does. */
  get kind() {
    const { recording } = this;
    const [first] = recording.segments;
    return ["channel", "speaker"].find((kind) => `${kind}s` in recording || (first && kind in first));
  }

  /** The parts that are not filtered out. */
  get visible() {
    return this.recording.segments.filter((each) => this.isWanted(each));
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  /** Takes the sound, as `open` gives it. */
  take({ buffer, player }) {
    if (this.closed) return;
    this.buffer = buffer;
    this.player = player((seconds) => this.follow(seconds));
    this.hint();
    this.show(this.zoom);
  }

  /** Takes stretches of speech; of separate channels, some may lie before others that are there. */
  add(segments) {
    const { segments: all, duration_s: durationS } = this.recording;
    const choose = (segment) => this.choose(segment);
    for (const segment of segments) {
      const place = all.findLastIndex((each) => isBefore(each, segment)) + 1;
      const after = all.slice(place);
      all.splice(place, 0, segment);
      const voice = segment[this.kind] ?? 1;
      const button = segmentButton(segment, durationS, choose);
      const row = line(segment, choose, (word) => this.play(word));
      this.grow(voice);
      const buttonAfter = this.parts.get(after.find((each) => voiceOf(each) === voiceOf(segment)))?.button;
      this.waves[voice - 1].querySelector(".segments").insertBefore(button, buttonAfter ?? null);
      this.find(".words").insertBefore(row, this.parts.get(after[0])?.row ?? null);
      if (this.kind === undefined) {
        this.lanes ??= this.drawLanes(segment);
        drawCells(this.lanes, segment, durationS, choose);
      }
      this.parts.set(segment, { button, row });
    }
    this.find(".words").classList.toggle("long", all.length > LONG); // before anything is laid out
    this.show(this.zoom);
    this.state();
    this.filters();
    this.hideCutTags();
    const doubtful = all.some((each) => each.words.some((word) => word.confidence < DOUBTFUL));
    this.find(".words-note").textContent = doubtful ? "Dotted words may well be others." : "";
    this.find(".words").previousElementSibling.hidden = all.length === 0;
  }

  /** Takes all of it, and its texts by format. */
  finish(recording, texts) {
    const { segments } = this.recording;
    const isThere = (segment) => segments.some((each) => each.start_s === segment.start_s && voiceOf(each) === voiceOf(segment));
    this.recording = { ...recording, segments };
    this.grow(Math.max(1, recording[`${this.kind}s`]?.length ?? 1));
    if (this.kind === undefined) this.lanes ??= this.drawLanes(recording);
    this.add(recording.segments.filter((each) => !isThere(each)));
    this.downloads(texts);
    if (this.chosen !== null || this.find(".result").contains(document.activeElement)) return; // somebody looks into it
    this.find(".statement").focus({ preventScroll: true });
    this.find(".result").scrollIntoView({ block: "nearest" });
  }

  /** A row of the picture for each channel or speaker up to this one; one where they are not told apart. */
  grow(count) {
    const [grid, axis, first] = [this.find(".time"), this.find(".axis-name"), this.find(".wave")];
    while (this.waves.length < count) {
      const wave = this.waves.length === 0 ? first : first.cloneNode(true);
      this.waves.push(wave);
      wave.querySelector(".segments").replaceChildren();
      if (wave === first) continue;
      wave.classList.add("more");
      grid.insertBefore(element("div", "gutter voice more", `${this.kind} ${this.waves.length}`), axis);
      grid.insertBefore(wave, axis);
    }
    this.find(".voice").textContent = this.waves.length > 1 ? `${this.kind} 1` : "";
  }

  drawLanes({ probabilities }) {
    return drawLanes(this.find(".time"), this.find(".axis-name"), Object.keys(probabilities));
  }

  state() {
    const { recording } = this;
    const many = recording.segments.length;
    const statement = !this.whole ? "so far" : recording.emotion === null ? "no speech" : stated(recording);
    const headline = this.find(".statement");
    headline.textContent = statement;
    paint(headline, statement);
    this.find(".source").textContent = `${recording.file} · ${exactClock(recording.duration_s)}`;
    this.find(".how").textContent = this.whole
      ? howSure(recording)
      : `${many} parts, up to ${clock(recording.segments[many - 1].end_s)}; the emotion of the whole comes at the end`;
    this.bars();
    this.hint();
  }

  /** A bar for each emotion, of the chosen stretch of speech, or of the whole. */
  bars() {
    const { chosen, recording } = this;
    const many = recording.segments.length;
    const whole = many > 1 ? "The whole recording" : "How sure it is";
    const part = `Part ${recording.segments.indexOf(chosen) + 1}${this.whole ? ` of ${many}` : ""}`;
    this.find(".bars h3").textContent = chosen === null ? whole : part;
    this.find(".whole").hidden = chosen === null || many < 2 || !this.whole;
    this.find(".bars").hidden = many === 0 || (chosen === null && !this.whole);
    const { probabilities, dimensions } = chosen ?? recording;
    const rows = Object.entries(probabilities ?? {}).map(([emotion, share]) => bar(emotion, share, percent(share)));
    const values = Object.entries(dimensions ?? {}).filter(([, value]) => value !== null);
    for (const [name, value] of values) {
      const [low, high] = this.ranges[name] ?? [0, value];
      rows.push(bar(name, Math.min(1, Math.max(0, (value - low) / (high - low || 1))), String(Number(value.toPrecision(3)))));
    }
    this.find(".bars dl").replaceChildren(...rows);
  }

  hint() {
    let hint = this.recording.segments.length > 0 ? "Click a coloured part, or a word, to hear it." : "";
    if (!this.player) hint = this.player === null ? "This browser cannot play this kind of file." : "";
    this.find(".hint").textContent = hint;
    this.find(".play").disabled = !this.player;
  }

  /** Shows a part of it, as many times as wide as all of it would be; what was in the middle stays there. */
  show(zoom) {
    const grid = this.find(".time");
    const middle = (grid.scrollLeft + grid.clientWidth / 2) / grid.scrollWidth;
    this.zoom = zoom;
    grid.style.setProperty("--zoom", zoom);
    this.waves.forEach((wave, place) => {
      drawWave(wave.querySelector(".picture"), this.recording, this.buffer, this.kind && `${this.kind} ${place + 1}`, zoom);
    });
    this.find(".out").disabled = zoom === 1;
    this.find(".into").disabled = this.recording.duration_s / zoom < 2 * CLOSEST_S;
    this.find(".zoom").hidden = this.recording.segments.length === 0;
    grid.scrollLeft = middle * grid.scrollWidth - grid.clientWidth / 2;
  }

  hideCutTags() {
    hideCutTags([...this.parts.values()].map(({ button }) => button));
  }

  choose(chosen) {
    this.chosen = chosen;
    this.bars();
    for (const [segment, { button, row }] of this.parts) {
      button.setAttribute("aria-pressed", String(segment === chosen));
      row.classList.toggle("chosen", segment === chosen);
    }
    if (chosen === null) this.player?.stop();
    else {
      this.scrollTo(chosen);
      this.mark(chosen.start_s); // also where nothing can be played
      this.play(chosen);
    }
  }

  /** Chooses the part before or after the chosen one, of those that are shown. */
  step(by) {
    const parts = this.visible;
    const next = this.chosen === null ? (by > 0 ? 0 : parts.length - 1) : parts.indexOf(this.chosen) + by;
    if (next in parts) this.choose(parts[next]);
  }

  /** Chooses the surest part of those that are shown, and the next surest when asked again; last come those without an emotion. */
  surest() {
    const sure = (each) => Number(each.sure && each.familiar) + Math.max(...Object.values(each.probabilities));
    const parts = this.visible.sort((one, other) => sure(other) - sure(one));
    this.choose(parts[(parts.indexOf(this.chosen) + 1) % parts.length]);
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
    const own = event.target.closest("button, a, summary"); // it has a use for the space bar, unless something plays
    if (event.key === " " && this.player && (own === null || this.player.playing)) {
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
    const lasts = ({ start_s: startS, end_s: endS }) => seconds !== null && startS <= seconds && seconds < endS;
    const spoken = this.recording.segments.filter(lasts);
    const [now] = spoken;
    if (now !== undefined && now !== this.now) this.scrollTo(now);
    this.now = now;
    for (const [segment, { row }] of this.parts) row.classList.toggle("now", segment === now);
    const said = spoken.flatMap((segment) => [...this.parts.get(segment).row.querySelectorAll(".word")]);
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
  scrollTo(segment) {
    const [list, { row }] = [this.find(".words"), this.parts.get(segment)];
    if (!list.classList.contains("long")) return;
    const above = row.offsetTop - list.offsetTop;
    if (above < list.scrollTop || above + row.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = above - 60;
  }

  isWanted(segment) {
    return [null, stated(segment), voiceOf(segment)].includes(this.filter);
  }

  /** Buttons that show only what states an emotion, or what one voice says; and one for the surest of it. */
  filters() {
    const { segments } = this.recording;
    const box = this.find(".filters");
    const focused = box.contains(document.activeElement) ? document.activeElement.dataset.kind : null;
    const counts = new Map([[null, segments.length]]);
    const kinds = [...segments.map(stated).sort(), ...segments.map(voiceOf).filter(Boolean).sort()];
    for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    const chip = (kind, text, onclick) => {
      const button = Object.assign(element("button", "chip", text), { type: "button", onclick });
      button.dataset.kind = kind;
      return button;
    };
    const chips = [...counts].map(([kind, count]) => chip(kind ?? "all", `${kind ?? "all"} (${count})`, () => this.only(kind)));
    box.replaceChildren(...chips, chip("surest", "the surest", () => this.surest()));
    box.hidden = segments.length <= FEW;
    [...box.children].find((each) => each.dataset.kind === focused)?.focus();
    this.only(this.filter);
  }

  only(kind) {
    this.filter = kind;
    for (const chip of this.find(".filters").querySelectorAll(".chip:not(:last-child)")) {
      chip.setAttribute("aria-pressed", String(chip.dataset.kind === (kind ?? "all")));
    }
    for (const [segment, { button, row }] of this.parts) {
      row.hidden = !this.isWanted(segment);
      button.classList.toggle("dim", !this.isWanted(segment));
    }
  }

  downloads(texts) {
    const row = this.find(".downloads");
    row.hidden = false;
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
    this.closed = true;
    document.removeEventListener("keydown", this.keys);
    this.player?.close();
    this.observer.disconnect();
    this.urls.forEach((url) => URL.revokeObjectURL(url));
  }
}

/** A row of the bars: a name, a share of the track, and what it says. */
function bar(name, share, text) {
  const row = element("div", "bar");
  const track = element("dd", "track");
  const fill = element("span", "fill");
  fill.style.width = `${100 * share}%`;
  track.append(fill);
  paint(row, name);
  row.append(element("dt", "", name), track, element("dd", "share", text));
  return row;
}

/** Whether a part comes before another in the list. */
function isBefore(one, other) {
  return one.start_s < other.start_s || (one.start_s === other.start_s && (one.channel ?? 0) < (other.channel ?? 0));
}

function howSure(recording) {
  if (recording.emotion === null) {
    return recording.silent ? "There is no sound at all in it: was the microphone on?" : "There is sound, but nobody seems to speak.";
  }
  const best = percent(recording.probabilities[recording.emotion]);
  const doubt = recording.familiar ? `most likely ${recording.emotion}, but only ${best} probable` : "unlike all that the model was trained on";
  const whole = recording.sure ? `${best} probable, by its own reckoning` : doubt;
  const voices = recording.channels ?? recording.speakers;
  if (voices !== undefined) {
    const each = voices.map((one) => `${voiceOf(one)}: ${one.emotion === null ? "no speech" : stated(one)}`);
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
      : `when tested on voices that it was not trained on, it was right ${Math.round(100 * right)} times in 100, and elsewhere it may be less`;
  return `This is a guess from the sound of a voice, not what anyone feels: ${measured}, so do not judge people by it`;
}
