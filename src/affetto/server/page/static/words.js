// The list of what was said: a line for each stretch of speech, with a button for each word.

import { element, exactClock, percent } from "./text.js";
import { paint, stated, voiceOf } from "./wave.js";

export const DOUBTFUL = 0.5; // words less sure than this are dotted

/** The line of a stretch of speech; it is given to `onChoose`, and a word of it to `onWord`, when one is clicked. */
export function line(segment, onChoose, onWord) {
  const row = element("li", "");
  const time = element("button", "link when", `${exactClock(segment.start_s)}`);
  time.type = "button";
  time.setAttribute("aria-label", `Play from ${exactClock(segment.start_s)} to ${exactClock(segment.end_s)}`);
  time.onclick = () => onChoose(segment);
  const tag = element("span", "tag", stated(segment));
  paint(tag, stated(segment));
  const text = element("span", "text");
  for (const word of segment.words) text.append(wordButton(word, onWord), " ");
  if (segment.words.length === 0) text.append(element("em", "", "no words recognised"));
  const voice = voiceOf(segment);
  if (voice !== undefined) text.prepend(element("span", "voice", `${voice} `));
  row.append(time, tag, text);
  return row;
}

function wordButton(word, onWord) {
  const button = element("button", "word", word.text);
  button.type = "button";
  button.title = `${exactClock(word.start_s)}, ${percent(word.confidence)} sure`;
  Object.assign(button.dataset, { start: word.start_s, end: word.end_s });
  button.classList.toggle("doubtful", word.confidence < DOUBTFUL);
  button.onclick = () => onWord(word);
  return button;
}
