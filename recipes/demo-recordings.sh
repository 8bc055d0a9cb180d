#!/usr/bin/env bash
# Makes the four recordings of src/affetto/demo anew. Needs espeak-ng (1.51 made those in the repository) and affetto's
# own environment (make venv), whose soundfile and soxr turn its output into 16 kHz mono flac.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

demo=src/affetto/demo
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A synthesiser's voice is as bright whispering as shouting; a low-pass filter gives the calmer ones a calmer timbre.
# speak NAME VOICE WORDS_PER_MINUTE PITCH_0_TO_99 LOUDNESS_0_TO_200 SOFTNESS_0_TO_1 SSML
speak() {
    local name=$1 voice=$2 speed=$3 pitch=$4 loudness=$5 softness=$6 ssml=$7
    espeak-ng -m -v "$voice" -s "$speed" -p "$pitch" -a "$loudness" -w "$work/$name.wav" "<speak>$ssml</speak>"
    .venv/bin/python - "$work/$name.wav" "$demo/$name.flac" "$softness" <<'PYTHON'
import sys

import soundfile
import soxr
from scipy.signal import lfilter

values, rate = soundfile.read(sys.argv[1], dtype="float32")
softness = float(sys.argv[3])
soft = lfilter([1 - softness], [1, -softness], soxr.resample(values, rate, 16_000))
soundfile.write(sys.argv[2], soft.clip(-1, 1), 16_000, subtype="PCM_16")
PYTHON
}

# Voices, speeds, pitches and timbres were chosen among some hundreds so that the embedded model predicts the emotion that
# the sentence has.
# High, and the second sentence an outburst.
speak angry en-gb-x-rp+linda 161 62 136 -0.05 '
    <prosody range="x-high">How could you do this to me?</prosody>
    <prosody range="x-high" pitch="+40%" volume="x-loud">I told you never to touch it!</prosody>'
# High and lively.
speak happy en-us+f3 184 87 131 0.73 '
    <prosody range="x-high">We won the game!</prosody>
    <prosody range="x-high" pitch="+30%">What a wonderful surprise!</prosody>'
speak neutral en-gb+m7 141 35 79 0.44 'The train to the city leaves at ten in the morning.'
# Slow, flat and dull.
speak sad en-us+david 121 83 49 0.94 '
    <prosody range="low">I miss her, <break time="300ms"/> and nothing is the same any more.</prosody>'
