// The recording as a picture: its wave, coloured by emotion, above a lane for each emotion.

import facts from "./facts.js";
import { clock, element, percent } from "./text.js";
import { peaks } from "./sound.js";

const COLUMNS = 600;
const HEIGHT = 100;
const SVG = "http://www.w3.org/2000/svg";

/** What a stretch of speech states: its emotion, or that it is not sure. */
export function stated(segment) {
  if (!segment.familiar) return "unfamiliar sound";
  return segment.sure ? segment.emotion : "not sure";
}

/** Sets the colour of an emotion on an element; what is not sure has none. */
export function paint(node, name) {
  node.style.setProperty("--emotion", facts.colours[name] ?? "var(--unsure)");
  node.classList.toggle("unsure", !(name in facts.colours));
}

/** The channel or the speaker of a stretch of speech, such as "channel 1"; undefined where they are not told apart. */
export function voiceOf(segment) {
  const kind = ["channel", "speaker"].find((each) => each in segment);
  return kind && `${kind} ${segment[kind]}`;
}

/**
 * The wave as SVG, each stretch of speech in the colour of its emotion; a line where there is no sound to draw.
 *
 * @param voice whose stretches of speech, as `voiceOf` says it; undefined: all of them
 * @param zoom how many times as wide as what is seen of it
 */
export function drawWave(place, recording, buffer, voice, zoom) {
  const columns = COLUMNS * Math.min(zoom, 16);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${columns} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const found = buffer === null ? null : peaks(buffer, columns, voice?.startsWith("channel") ? Number(voice.split(" ")[1]) : null);
  const loudest = found === null ? 1 : Math.max(0.02, ...found.flat().map(Math.abs)); // silence stays a line
  const path = (from, to) =>
    Array.from({ length: to - from }, (_, i) => {
      const [low, high] = found === null ? [-0.02, 0.02] : found[from + i].map((value) => value / loudest);
      const [top, bottom] = [50 - 46 * high - 0.6, 50 - 46 * low + 0.6];
      return `M${from + i + 0.5} ${top.toFixed(1)}V${bottom.toFixed(1)}`;
    }).join("");
  const add = (from, to, name) => {
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("d", path(from, to));
    if (name !== null) paint(line, name);
    svg.append(line);
  };
  const column = (seconds) => Math.min(columns, Math.max(0, Math.round((seconds / recording.duration_s) * columns)));
  let done = 0;
  for (const segment of recording.segments.filter((each) => voiceOf(each) === voice)) {
    const [from, to] = [Math.max(done, column(segment.start_s)), column(segment.end_s)];
    add(done, from, null);
    add(from, to, stated(segment));
    done = Math.max(done, to);
  }
  add(done, columns, null);
  place.replaceChildren(svg);
}

/** A button over the wave, for a stretch of speech. */
export function segmentButton(segment, durationS, onChoose) {
  const button = element("button", "segment");
  const sure = percent(segment.probabilities[segment.emotion]);
  button.type = "button";
  button.setAttribute(
    "aria-label",
    `${stated(segment)}, ${clock(segment.start_s)} to ${clock(segment.end_s)}: ${segment.transcript || "no words"}; play it`,
  );
  button.title = `${stated(segment)} (${segment.emotion} ${sure})`;
  button.append(element("span", "tag", stated(segment)));
  paint(button, stated(segment));
  span(button, segment, durationS);
  button.onclick = () => onChoose(segment);
  return button;
}

/** An empty lane for each emotion, by its name; rows of a grid whose second column is time. */
export function drawLanes(grid, before, emotions) {
  return emotions.map((emotion) => {
    const name = element("div", "gutter lane-name", emotion);
    const lane = element("div", "lane");
    lane.setAttribute("aria-hidden", "true"); // the list of words says the same
    paint(lane, emotion);
    paint(name, emotion);
    grid.insertBefore(name, before);
    grid.insertBefore(lane, before);
    return [emotion, lane];
  });
}

/** A stretch of speech in each lane: the more probable the emotion is, the fuller. */
export function drawCells(lanes, segment, durationS, onChoose) {
  for (const [emotion, lane] of lanes) {
    const cell = element("div", "cell");
    cell.style.setProperty("--share", segment.probabilities[emotion]);
    cell.title = `${emotion} ${percent(segment.probabilities[emotion])}`;
    cell.onclick = () => onChoose(segment);
    span(cell, segment, durationS);
    lane.append(cell);
  }
}

/** Marks of time: as many as fit, at round seconds. */
export function drawAxis(place, durationS) {
  const wide = place.clientWidth || 600;
  const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].find((each) => (wide * each) / durationS > 56) ?? 7200;
  const readableS = durationS * (1 - 28 / wide); // what begins later is cut off at the edge
  const marks = Array.from({ length: Math.max(0, Math.floor(readableS / step)) + 1 }, (_, i) => {
    const seconds = i * step;
    const mark = element("span", "", step < 1 ? seconds.toFixed(1) : clock(seconds));
    mark.style.left = `${(100 * seconds) / durationS}%`;
    return mark;
  });
  place.replaceChildren(...marks);
}

function span(node, segment, durationS) {
  node.style.left = `${(100 * segment.start_s) / durationS}%`;
  node.style.width = `${(100 * (segment.end_s - segment.start_s)) / durationS}%`;
}

/** Names that would be cut off are left out; the list of words and the buttons' titles say them, too. */
export function hideCutTags(buttons) {
  for (const button of buttons) button.classList.remove("narrow");
  const cut = buttons.filter((button) => {
    const tag = button.querySelector(".tag");
    return tag.offsetLeft + tag.offsetWidth > button.clientWidth;
  });
  for (const button of cut) button.classList.add("narrow"); // after all were measured, or each would be laid out anew
}
