"""A model card: what a model folder holds, what it was trained on, and what was measured.

The card begins with the metadata that the Hugging Face hub reads, so that the folder can be put there as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from affetto import pretrained
from affetto.data.corpora import CORPORA
from affetto.data.corpora.corpus import Corpus
from affetto.errors import CheckpointError
from affetto.models import checkpoint
from affetto.models.deepspeech2 import PRESETS, DeepSpeech2Config
from affetto.models.encoders.encoder import TEXT, WORD_LAYERS
from affetto.models.heads import EmotionHead, load_head
from affetto.models.network import DEFAULT_KIND

CARD = "README.md"
# Licences as the hub names them; any other is "other" there.
_LICENCE = re.compile(
    r"(apache[ -]2\.0|mit|cc0(-1\.0)?|cc[ -]by([ -]nc)?([ -](sa|nd))?[ -][34]\.0|bsd-\d-clause|[al]?gpl-3\.0)(?![\w.-])"
)
_SPELLS, _CLASSIFIES = "automatic-speech-recognition", "audio-classification"  # the hub's names of tasks
_METRICS = {  # the hub's name of each figure, and people's
    "uar": ("recall", "UAR (unweighted average recall)"),
    "accuracy": ("accuracy", "accuracy"),
    "f1_macro": ("f1", "macro F1"),
    "cer": ("cer", "CER"),
    "wer": ("wer", "WER"),
}


class _Part(NamedTuple):
    """What the card says of a part of a model, and what the metadata has of it."""

    lines: list[str]
    licence: str
    tasks: Sequence[str] = ()
    corpora: Sequence[str] = ()
    languages: Sequence[str] = ()
    bases: Sequence[str] = ()  # the public recognisers that it is made from
    results: Sequence[Mapping[str, Any]] = ()


def write_card(folder: Path, evaluations: Sequence[Mapping[str, Any]]) -> Path:
    """Writes a model folder's card from what its checkpoints say, and evaluations, see `read_evaluation`.

    Raises CheckpointError where the folder holds no recogniser, or a model about which too little is known for a card.
    """
    words = [each for each in evaluations if "cer" in each]
    emotions = [each for each in evaluations if "scores" in each]
    recogniser, texts = (folder / name for name in (pretrained.RECOGNISER, pretrained.LANGUAGE_MODEL))
    heads = [folder / name for name in (pretrained.EMOTION, pretrained.DIMENSIONS) if (folder / name).exists()]
    parts = []
    if recogniser.exists() or not heads:
        parts.append(_card_of(recogniser, "recogniser", partial(_recogniser_card, evaluations=words)))
    if texts.exists():
        parts.append(_card_of(texts, "language model", _language_model_card))
    for path in heads:
        write = partial(_head_card, head=load_head(path)[0], evaluations=emotions)
        parts.append(_card_of(path, "emotion head", write))
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
    name, end = folder.resolve().name, f"All weights together: {size:.1f} MB, safetensors.\n"
    text = "\n\n".join([f"# Model card: {name}", *("\n".join(part.lines) for part in parts), end])
    card = folder / CARD
    card.write_text(f"{_metadata(name, parts)}\n{text}", encoding="utf-8")
    return card


def _metadata(name: str, parts: Sequence[_Part]) -> str:
    """What the hub reads of a model: YAML, in which each value is written as JSON."""

    def together(field: str) -> list[str]:
        return list(dict.fromkeys(each for part in parts for each in getattr(part, field)))

    licences = {_licence(part.licence) for part in parts}
    results = [each for part in parts for each in part.results]
    tasks = together("tasks")
    values = {
        "license": licences.pop() if len(licences) == 1 else "other",
        "language": together("languages"),
        "library_name": "affetto",
        "pipeline_tag": tasks[-1] if tasks else _CLASSIFIES,
        "tags": ["speech", *(["speech-emotion-recognition"] if _CLASSIFIES in tasks else []), *tasks],
        "base_model": together("bases"),
        "datasets": [_plain(each) for each in together("corpora")],
        "metrics": list(dict.fromkeys(metric["type"] for each in results for metric in each["metrics"])),
    }
    if values["license"] == "other":
        values["license_name"] = "see-the-card"
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value]
    if results:
        lines += ["model-index:", f"- name: {json.dumps(name, ensure_ascii=False)}", "  results:"]
        lines += [f"  - {json.dumps(each, ensure_ascii=False)}" for each in results]
    return "\n".join(["---", *lines, "---"])


def _licence(text: str) -> str:
    """The hub's name of a licence, as far as it is known here.

    >>> [_licence(each) for each in ("Apache-2.0 (weights), MIT (encoder)", "CC BY 4.0", "CC0", "MIT-0", "my own")]
    ['apache-2.0', 'cc-by-4.0', 'cc0-1.0', 'other', 'other']
    """
    found = _LICENCE.match(text.lower())
    name = "other" if found is None else found[1].replace(" ", "-")
    return "cc0-1.0" if name == "cc0" else name


def _plain(corpus: str) -> str:
    """A corpus's name with the signs alone that the hub allows."""
    return re.sub(r"[^\w.-]+", "-", corpus)


def _results(task: str, rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """What was measured, for the hub: of each corpus and its part or condition, the figures that there are."""
    found = []
    for corpus, part, figures in rows:
        known = ((*_METRICS[key], figures[key]) for key in _METRICS if figures.get(key) is not None)
        measured = [{"type": kind, "name": name, "value": round(value, 4)} for kind, name, value in known]
        if measured:
            dataset = {"type": _plain(corpus), "name": f"{corpus}, {part}"}
            found.append({"task": {"type": task}, "dataset": dataset, "metrics": measured})
    return found


def _card_of(path: Path, kind: str, write: Callable[[Mapping[str, Any]], _Part]) -> _Part:
    facts = checkpoint.describe(path, kind).facts
    try:
        return write(facts)
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # facts are free: others may save models
        problem = f"says too little of its training for a card ({error!r})"
        raise CheckpointError(problem, "pack what affetto trained", path) from error


def _recogniser_card(facts: Mapping[str, Any], evaluations: Sequence[Mapping[str, Any]]) -> _Part:
    recipe = facts["recipe"]
    paths = [source["path"] for source in recipe["corpora"]]
    corpora = ", ".join(f"`{path}`" for path in paths)
    lines = [
        "## Speech recogniser",
        "",
        f"- **What**: {_architecture(recipe)}.",
        *_origin(facts),
        f"- **Trained on**: {facts['training_hours']} hours of {corpora}, {_epochs(facts)}.",
        f"- **Licence**: {recipe['licence']}.",
        f"- **Recipe**: in full in `{Path(pretrained.RECOGNISER).with_suffix('.json')}`.",
        f"- **Code**: {_code(facts)}.",
        f"- **Chosen by**: the lowest CER on held-out speakers, {facts['validation_cer']:.3f}.",
    ]
    if evaluations:
        header = ("corpus", "CER", "WER", "utterances", "hours", "part in training", "decoder")
        lines += ["", *_table(header, [_evaluation_row(each, recipe["corpora"]) for each in evaluations])]
    names = [Path(path).name for path in paths]
    return _Part(
        lines,
        recipe["licence"],
        tasks=[_SPELLS],
        corpora=names,
        languages=_languages(name.lower().replace("-", "_") for name in names),
        bases=[] if facts.get("origin") is None else [facts["origin"]["name"]],
        results=_results(_SPELLS, [(each["corpus"], each.get("decoder", "greedy"), each) for each in evaluations]),
    )


def _architecture(recipe: Mapping[str, Any]) -> str:
    """What the network is, in a few words."""
    model = recipe.get("model") or {}
    if model.get("kind", DEFAULT_KIND) == DEFAULT_KIND:
        return f"DeepSpeech-2, characters from spectrograms, shape `{recipe['preset'] or _preset(model)}`"
    encoder, head = model["encoder"], model["head"]
    return (
        f"Whisper's encoder, {encoder['depth']} layers of width {encoder['width']}, and on top of it a convolution and "
        f"{head['depth']} bidirectional GRU layers of width {head['width']} that spell characters"
    )


def _origin(facts: Mapping[str, Any]) -> list[str]:
    """What it began with, where that was a public recogniser's encoder."""
    origin = facts.get("origin")
    if origin is None:
        return []
    frozen = facts["recipe"]["training"]["frozen"]
    kept = f"; the layers up to `{frozen}` are its own, but for rounding" if frozen else ""
    return [f"- **Derived from**: the encoder of {origin['name']}, licence {origin['licence']}{kept}."]


def _epochs(facts: Mapping[str, Any]) -> str:
    """How long it was trained, and how long at most in each of the stages before."""
    before, stage = list[str](), facts["recipe"].get("first")
    while stage:
        before.insert(0, str(stage["training"]["epochs"]))
        stage = stage.get("first")
    stages = "stages" if len(before) > 1 else "stage"
    earlier = f", after at most {' and '.join(before)} in the {stages} before" if before else ""
    return f"{facts.get('epochs', '?')} epochs{earlier}"


def _preset(model: Mapping[str, Any]) -> str:
    """The preset that a shape is, whatever its dropout, which only training knows; "own" if it is none."""
    shape = DeepSpeech2Config.parse(model)
    alike = (name for name, preset in PRESETS.items() if preset.model_copy(update={"dropout": shape.dropout}) == shape)
    return next(alike, "own")


def _evaluation_row(found: Mapping[str, Any], trained_on: Sequence[Mapping[str, Any]]) -> list[str]:
    numbers = [f"{found['cer']:.3f}", f"{found['wer']:.3f}", str(found["utterances"]), f"{found['hours']:.2f}"]
    return [str(found["corpus"]), *numbers, _part_in_training(found, trained_on), str(found.get("decoder", "greedy"))]


def _part_in_training(found: Mapping[str, Any], trained_on: Sequence[Mapping[str, Any]]) -> str:
    """What the utterances of an evaluation were for the training, as far as their corpus's name shows."""
    name, *partition = str(found["corpus"]).split(maxsplit=1)
    sources = [source for source in trained_on if Path(source["path"]).name == name]
    if not sources:
        return "none"
    held_out = "held_out_by" in found or all([source.get("validation_partition")] == partition for source in sources)
    return "held out, validates" if held_out else "trained on"


def _language_model_card(facts: Mapping[str, Any]) -> _Part:
    corpora = ", ".join(f"`{source['path']}`" for source in facts["recipe"]["corpora"])
    perplexity, more = facts["validation_perplexity"], facts.get("more_texts", {})
    corpora += "".join(f", of the {lines:,} lines of `{name}`" for name, lines in more.items())
    lines = [
        "## Language model",
        "",
        "- **What**: n-grams of characters, for decoding by beam search.",
        f"- **Trained on**: {facts['texts']:,} different transcripts of {corpora}, {facts['characters']:,} characters.",
        f"- **Licence**: {facts['licence']}.",
        f"- **Code**: {_code(facts)}.",
        *([] if perplexity is None else [f"- **Perplexity**: {perplexity:.2f} a character of unheard transcripts."]),
    ]
    return _Part(lines, facts["licence"])


def _word_layer(name: str, encoder: str | None) -> str:
    if name != TEXT:
        return "the states of the recogniser's decoder as it writes"
    return "the words that the recogniser writes" + (f", by the text encoder `{encoder}`" if encoder else "")


def _paths(recipe: Mapping[str, Any]) -> list[str]:
    """Of the corpora that a head was trained on."""
    return [each["path"] for each in recipe.get("corpora") or [{"path": recipe["corpus"]}]]


def _public(facts: Mapping[str, Any]) -> str | None:
    """The recogniser that a head was trained on, if it was made elsewhere."""
    return facts["encoder"] if "/" in facts.get("encoder", "") else None


def _head_lines(title: str, name: str, facts: Mapping[str, Any], head: EmotionHead) -> list[str]:
    """What the card says of a head, up to what it was tested on."""
    recipe, counts, public = facts["recipe"], facts["utterances"], _public(facts)
    corpora = ", ".join(f"`{path}`" for path in _paths(recipe))
    text = facts.get("transcript", {}).get("encoder")
    reads = [f"recogniser layer `{name}`" for name in head.layers if name not in WORD_LAYERS]
    reads += [_word_layer(name, text) for name in head.layers if name in WORD_LAYERS]
    reads += [] if head.config.acoustic is None else ["acoustic features of its own"]
    hidden = f"; {head.config.hidden} hidden units" if head.config.hidden else ""
    level = "" if facts.get("level") is None else ", which reads recordings at one level"
    return [
        f"## {title}",
        "",
        f"- **What**: {head.config.kind.replace('_', ' ')}, reading {', '.join(reads)}{hidden}.",
        *([] if public is None else [f"- **Recogniser**: `{public}`{level}."]),
        f"- **Trained on**: {corpora}: {counts['train']} utterances; validated on {counts['validation']} of "
        f"other speakers.",
        f"- **Licence**: {recipe['licence']}.",
        f"- **Recipe**: in full in `{Path(name).with_suffix('.json')}`.",
        f"- **Code**: {_code(facts)}.",
        f"- **Tested on**: {counts['test']} utterances of {len(recipe['test_speakers'])} speakers who chose nothing "
        f"({', '.join(recipe['test_speakers'])}), seed {recipe['seed']}: {_tested(facts['test'])}.",
    ]


def _tested(test: Mapping[str, Any]) -> str:
    if "ccc" in test:
        return ", ".join(f"CCC of {name} {value:.3f}" for name, value in test["ccc"].items())
    return f"UAR {test['uar']:.3f}, accuracy {test['accuracy']:.3f}, macro F1 {test['f1_macro']:.3f}"


def _head_card(facts: Mapping[str, Any], head: EmotionHead, evaluations: Sequence[Mapping[str, Any]]) -> _Part:
    recipe, public = facts["recipe"], _public(facts)
    known = facts.get("corpora") or [Path(recipe["corpus"]).stem.replace("-", "_")]
    names = [Path(path).name for path in _paths(recipe)]
    rows = [row for each in evaluations for row in each["scores"]]
    measured = [(", ".join(names), f"{len(recipe['test_speakers'])} test speakers", facts["test"])]
    measured += [(row["corpus"], row["condition"], row) for row in rows]
    if head.dimensions:
        lines = _head_lines("Dimensions", pretrained.DIMENSIONS, facts, head)
        ranges = (f"{name} from {low:.4g} to {high:.4g}" for name, (low, high) in facts["range"].items())
        lines.append(f"- **Predicts**: {', '.join(ranges)} (the training utterances' lowest and highest values).")
    else:
        lines = _head_lines("Emotion head", pretrained.EMOTION, facts, head) + _class_lines(facts["test"], rows, known)
    return _Part(
        lines,
        recipe["licence"],
        tasks=[] if head.dimensions else [_CLASSIFIES],
        corpora=names,
        languages=_languages(known),
        bases=[] if public is None else [public.partition("@")[0]],
        results=[] if head.dimensions else _results(_CLASSIFIES, measured),
    )


def _class_lines(test: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], known: Sequence[str]) -> list[str]:
    """What is taken for what, scores on other corpora, and what to expect."""
    named = zip(test["classes"], test["confusion"], strict=True)
    lines = ["", *_table(["true \\ predicted", *test["classes"]], [[name, *map(str, row)] for name, row in named])]
    if rows:
        cells = [[f"{row['corpus']}, {row['condition']}", *_scores_of(row)] for row in rows]
        lines += ["", *_table(["corpus, condition", *_SCORES], cells)]
    advice = "on other voices, rooms and languages expect less. Do not use it to judge people."
    about = "; ".join(each.emotions for each in _corpora(known) if each.emotions)
    caution = f"{about}: {advice}" if about else advice
    return [*lines, "", caution[:1].upper() + caution[1:]]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    head, *lines = (f"| {' | '.join(cells)} |" for cells in (header, *rows))
    return [head, "|---" * len(header) + "|", *lines]


_SCORES = ("clips", "UAR", "accuracy", "ECE", "not sure", "unfamiliar sound", "no speech")


def _scores_of(row: Mapping[str, Any]) -> list[str]:
    figures = ["-" if row[key] is None else f"{row[key]:.3f}" for key in ("uar", "accuracy", "ece")]
    return [f"{row['utterances']:,}", *figures, *(f"{row['stated'].get(name, 0):.1%}" for name in _SCORES[4:])]


def _corpora(names: Iterable[str]) -> list[Corpus]:
    """The corpora of these names that are known."""
    return [CORPORA.load(name) for name in names if name in CORPORA.names()]


def _languages(corpora: Iterable[str]) -> list[str]:
    return [each.language for each in _corpora(corpora) if each.language]


def _code(facts: Mapping[str, Any]) -> str:
    found = facts.get("environment", {})
    return f"affetto {found.get('affetto', '?')}, commit {found.get('commit') or 'unknown'}"


def read_evaluation(path: Path) -> dict[str, Any]:
    """What ``affetto asr evaluate`` or ``affetto evaluate`` printed with ``--format json``, or CheckpointError."""
    remedy = "give what asr evaluate or evaluate prints with --format json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"no evaluation ({error})", remedy, path) from error
    if isinstance(found, dict):
        rates = [found.get(key) for key in ("cer", "wer", "utterances", "hours")]
        rated = "corpus" in found and all(isinstance(each, int | float) for each in rates)
        if rated or isinstance(found.get("scores"), list):
            return found
    raise CheckpointError("no evaluation", remedy, path)
