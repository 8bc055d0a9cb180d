// Sound in the browser: decoding, recording, playing a span. Nothing here leaves the page.

const RATE_HZ = 16000; // what the networks read

/** So much is decoded in the browser, seconds: first at the rate of the file, which of stereo takes 0.4 MB a second. */
export const MOST_DECODED_S = 2000;

/** A file's samples at 16 kHz, null where this browser cannot decode it or it is very long; and what makes its player. */
export async function open(file) {
  const durationS = await readDuration(file); // of some kinds Infinity
  const isLong = Number.isFinite(durationS) && durationS > MOST_DECODED_S;
  const buffer = isLong ? null : await decode(file);
  const player = (onTime) => {
    if (buffer !== null) return new Player(buffer, onTime);
    return durationS === null ? null : new FilePlayer(file, onTime);
  };
  return { buffer, player };
}

/** How long a file is, seconds; null where this browser cannot play it. */
async function readDuration(file) {
  const media = new Audio(URL.createObjectURL(file));
  const durationS = await new Promise((resolve) => {
    media.onloadedmetadata = () => resolve(media.duration);
    media.onerror = () => resolve(null);
  });
  URL.revokeObjectURL(media.src);
  return durationS;
}

async function decode(file) {
  try {
    return await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(await file.arrayBuffer());
  } catch {
    return null;
  }
}

function tracks(buffer) {
  return Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel));
}

function mixed(buffer) {
  const [first, ...others] = tracks(buffer);
  if (others.length === 0) return first;
  const sum = first.slice();
  for (const samples of others) for (let place = 0; place < sum.length; place += 1) sum[place] += samples[place];
  return sum.map((value) => value / buffer.numberOfChannels);
}

/** Samples as a WAV file, 16 bits, for what the service cannot decode itself. */
export function toWav(buffer, name) {
  const channels = tracks(buffer);
  const [count, bytes] = [channels.length, 2 * channels.length * buffer.length];
  const view = new DataView(new ArrayBuffer(44 + bytes));
  const write = (place, text) => [...text].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + bytes, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // the length of what describes the samples
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, count, true);
  view.setUint32(24, buffer.sampleRate, true);
  view.setUint32(28, 2 * count * buffer.sampleRate, true);
  view.setUint16(32, 2 * count, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, bytes, true);
  channels.forEach((samples, channel) =>
    samples.forEach((value, i) =>
      view.setInt16(44 + 2 * (count * i + channel), Math.round(Math.max(-1, Math.min(1, value)) * 32767), true),
    ),
  );
  return new File([view], name, { type: "audio/wav" });
}

/** The least and the greatest sample in each of `columns` stretches, of a channel, or of all mixed: [[low, high], ...]. */
export function peaks(buffer, columns, channel) {
  const samples = channel === null ? mixed(buffer) : buffer.getChannelData(channel - 1);
  return Array.from({ length: columns }, (_, column) => {
    const end = Math.max(Math.floor(((column + 1) * samples.length) / columns), 1);
    let [low, high] = [0, 0];
    for (let place = Math.floor((column * samples.length) / columns); place < end; place += 1) {
      if (samples[place] < low) low = samples[place];
      if (samples[place] > high) high = samples[place];
    }
    return [low, high];
  });
}

/** The microphone, until it is stopped; `onTick` is told the seconds and how loud it is, 0 to 1. */
export class Recorder {
  static get possible() {
    return Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);
  }

  async start(onTick) {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: true };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio });
    this.chunks = [];
    this.media = new MediaRecorder(this.stream);
    this.media.ondataavailable = (event) => this.chunks.push(event.data);
    this.context = new AudioContext();
    const analyser = this.context.createAnalyser();
    this.context.createMediaStreamSource(this.stream).connect(analyser);
    const values = new Float32Array(analyser.fftSize);
    const began = performance.now();
    this.timer = setInterval(() => {
      analyser.getFloatTimeDomainData(values);
      onTick((performance.now() - began) / 1000, Math.max(...values.map(Math.abs)));
    }, 100);
    this.media.start();
  }

  /** Ends it. Gives what was recorded as a WAV file. */
  async stop() {
    const ended = new Promise((resolve) => (this.media.onstop = resolve));
    this.media.stop();
    await ended;
    this.#release();
    const buffer = await decode(new Blob(this.chunks, { type: this.media.mimeType }));
    return buffer === null ? null : toWav(buffer, "recording.wav");
  }

  discard() {
    this.media.onstop = null;
    this.media.stop();
    this.#release();
  }

  #release() {
    clearInterval(this.timer);
    this.stream.getTracks().forEach((track) => track.stop());
    this.context.close();
  }
}

/** Plays spans of a recording; `onTime` is told where it is, in seconds, and null at the end. */
class Player {
  constructor(buffer, onTime) {
    Object.assign(this, { buffer, onTime, source: null });
  }

  get playing() {
    return this.source !== null;
  }

  async play(startS, endS) {
    this.stop();
    this.context ??= new AudioContext();
    const source = new AudioBufferSourceNode(this.context, { buffer: this.buffer });
    this.source = source; // before any waiting, so that a second click stops it
    await this.context.resume();
    if (this.source !== source) return;
    source.connect(this.context.destination);
    source.onended = () => this.source === source && this.stop();
    source.start(0, startS, endS - startS);
    const began = this.context.currentTime;
    const follow = () => {
      if (this.source !== source) return;
      this.onTime(Math.min(startS + this.context.currentTime - began, endS));
      requestAnimationFrame(follow);
    };
    follow();
  }

  stop() {
    const { source } = this;
    if (source === null) return;
    this.source = null;
    try {
      source.stop();
    } catch {
      // it had not begun
    }
    this.onTime(null);
  }

  close() {
    this.stop();
    this.context?.close();
  }
}

/** The same of a file that is not decoded whole. */
class FilePlayer {
  constructor(file, onTime) {
    Object.assign(this, { media: new Audio(URL.createObjectURL(file)), onTime, endS: null });
    this.media.onerror = () => this.stop();
  }

  get playing() {
    return this.endS !== null;
  }

  play(startS, endS) {
    this.stop();
    this.endS = endS;
    this.media.currentTime = startS;
    this.media.play().then(() => this.#follow(), () => {}); // it may be stopped before it begins
  }

  #follow() {
    if (!this.playing) return;
    if (this.media.ended || this.media.currentTime >= this.endS) {
      this.stop();
      return;
    }
    this.onTime(this.media.currentTime);
    this.frame = requestAnimationFrame(() => this.#follow());
  }

  stop() {
    if (!this.playing) return;
    this.endS = null;
    cancelAnimationFrame(this.frame);
    this.media.pause();
    this.onTime(null);
  }

  close() {
    this.stop();
    URL.revokeObjectURL(this.media.src);
  }
}
