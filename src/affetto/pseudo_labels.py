"""Transcripts of speech that has none: what several recognisers agree on becomes a corpus to train on.

Beside its manifest and ``left-out.csv`` the folder has ``transcripts-MODEL.jsonl``, what each recogniser wrote, clip by
clip, so that nothing is transcribed twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from affetto import text
from affetto.data.corpora import Skipped
from affetto.data.manifest import read_journal, write_manifest
from affetto.data.prepare import LEFT_OUT, MANIFEST, write_left_out
from affetto.data.utterance import Utterance
from affetto.errors import ConfigError, CorpusError
from affetto.streaming import Failure
from affetto.transcribe import Transcriber

MOST_APART = 0.1  # the character error rate up to which transcripts agree

Progress = Callable[[int, int, str], None]  # called with the clips done, the clips in all and the recogniser's name


@dataclass(frozen=True, slots=True)
class PseudoLabelled:
    """What became of the clips: the manifest, how many are in it and how long they are, and why others are not."""

    manifest: Path
    utterances: int
    hours: float
    reasons: dict[str, int]  # reason -> clips, the most frequent first
    unreadable: int  # of these, clips that could not be read


class _Clip(NamedTuple):
    """What a recogniser made of a clip, as it was then: its file, bytes and time; its text, or why there is none."""

    audio: str
    bytes: int
    time_ns: int
    duration_s: float = 0.0
    text: str = ""
    problem: str = ""


def pseudo_label(
    clips: Sequence[Path],
    models: Sequence[str],
    folder: Path,
    *,
    most_apart: float = MOST_APART,
    device: str = "auto",
    progress: Progress = lambda *_: None,
) -> PseudoLabelled:
    """Transcribes clips by each of several recognisers, and keeps those on whose transcripts they agree.

    The text is that of the first recogniser, in the alphabet (see `text.normalise`). Agreement is the character error
    rate of each other transcript against it. Stopped anywhere, the same call goes on from there.

    Clips are sound files of one utterance each; who speaks is not known, so each is a speaker of its own. For the
    models, the best first, see `open_encoder`, for the device `choose_device`. ``most_apart`` is the highest character
    error rate that is agreement, 0 for the same text.

    Raises ConfigError where there are fewer than two different recognisers, before anything is transcribed,
    CheckpointError where there is no such one, CorpusError where nothing is agreed on, OSError where it cannot write.
    """
    transcribers = {model: Transcriber.from_pretrained(model, device) for model in models}
    if len({each.fingerprint() for each in transcribers.values()}) < max(2, len(models)):
        where = ",".join(models) or None
        raise ConfigError("a recogniser agrees with itself", "name two or more different ones", where)
    folder.mkdir(parents=True, exist_ok=True)
    first, *others = [_transcripts(clips, *each, folder, progress) for each in transcribers.items()]
    kept, left_out = list[Utterance](), list[Skipped]()
    for name, clip in first.items():
        problem = clip.problem or _disagreement(clip.text, [each[name].text for each in others], most_apart)
        if problem:
            left_out.append(Skipped(name, problem))
        else:
            path, speaker = Path(name), f"clip-{len(kept)}"
            kept.append(Utterance(id=name, audio=path, speaker=speaker, corpus=folder.name, text=clip.text))
    write_left_out(folder / LEFT_OUT, sorted(left_out))
    reasons = dict(Counter(each.reason for each in left_out).most_common())
    if not kept:
        why = ", ".join(f"{reason}: {count}" for reason, count in reasons.items()) or "there are no clips"
        raise CorpusError(f"the recognisers agree on nothing ({why})", "check the clips and their language", folder)
    write_manifest(folder / MANIFEST, kept)
    hours = sum(first[each.id].duration_s for each in kept) / 3600
    unreadable = sum(bool(clip.problem) for clip in first.values())
    return PseudoLabelled(folder / MANIFEST, len(kept), hours, reasons, unreadable)


def _transcripts(
    clips: Sequence[Path], model: str, transcriber: Transcriber, folder: Path, progress: Progress
) -> dict[str, _Clip]:
    """What a recogniser writes of each clip, by the clip's absolute path; what it wrote before is read."""
    path = folder / f"transcripts-{transcriber.fingerprint()}.jsonl"
    known = {clip.audio: clip for clip in read_journal(path, _Clip)}
    clips_now = [_Clip(str(each.absolute()), *_state(each)) for each in clips]
    found = {each.audio: known[each.audio] for each in clips_now if known.get(each.audio, ())[:3] == each[:3]}
    missing = [each for each in clips_now if each.audio not in found]
    with path.open("a", encoding="utf-8", newline="\n") as journal:
        journal.write("\n" if journal.tell() else "")  # a sudden end may have torn the last line
        results = transcriber.transcribe_many([Path(clip.audio) for clip in missing])
        for clip, result in zip(missing, results, strict=True):
            if isinstance(result, Failure):
                done = clip._replace(problem=result.error.problem)
            else:
                done = clip._replace(duration_s=result.duration_s, text=text.normalise(result.text))
            journal.write(json.dumps(done) + "\n")
            journal.flush()
            found[done.audio] = done
            progress(len(found), len(clips), model)
    return {each.audio: found[each.audio] for each in clips_now}


def _state(clip: Path) -> tuple[int, int]:
    try:
        status = clip.stat()
    except OSError:
        return 0, 0  # the recogniser will say what is wrong
    return status.st_size, status.st_mtime_ns


def _disagreement(first: str, others: Sequence[str], most_apart: float) -> str:
    """Why a transcript is not taken; empty where it is.

    >>> _disagreement("we won the game", ["we won the same"], 0.1), _disagreement("we won", ["he won"], 0.1)
    ('', 'transcripts disagree')
    """
    from affetto import metrics  # scikit-learn: 1 s and 100 MB that transcripts need not

    if not first or not all(others):
        return "no words"
    apart = max(metrics.cer([first], [other]) for other in others)
    return "transcripts disagree" if apart > most_apart else ""
