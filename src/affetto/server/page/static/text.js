// Numbers as people read them.

/** 75.2 -> "1:15", 3675.2 -> "1:01:15". */
export function clock(seconds) {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (number) => String(number).padStart(2, "0");
  return `${hours > 0 ? `${hours}:${two(minutes)}` : minutes}:${two(Math.floor(seconds % 60))}`;
}

/** 75.24 -> "1:15.2". */
export function exactClock(seconds) {
  const tenths = Math.round(seconds * 10);
  return `${clock(tenths / 10)}.${tenths % 10}`;
}

/** 0.984 -> "98 %", on one line; never a certainty that is none. */
export function percent(share) {
  if (share > 0.99 && share < 1) return ">\u00a099\u00a0%";
  if (share > 0 && share < 0.01) return "<\u00a01\u00a0%";
  return `${Math.round(share * 100)}\u00a0%`;
}

/** How long the rest will take, of work of which a share was done in so many seconds; nothing before that can be known. */
export function left(share, seconds) {
  if (seconds < 10 || share <= 0) return "";
  const minutes = ((1 - share) / share) * (seconds / 60);
  return minutes < 1 ? ", less than a minute left" : `, about ${Math.round(minutes)} min left`;
}

export function element(tag, className, text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}
