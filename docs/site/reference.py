"""The pages of the reference that are made from the code: API, commands, keys of recipes, keys of results."""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import typer
from griffe import Docstring, DocstringSectionAttributes
from pydantic_core import PydanticUndefined

from affetto.cli import app
from affetto.config import Config
from affetto.experiment import ExperimentRecipe
from affetto.experiment.single import EmotionRecipe
from affetto.models.deepspeech2 import DeepSpeech2Config
from affetto.models.heads import HEADS
from affetto.models.whisper_ctc import WhisperCtcConfig
from affetto.training.heads.classical import CLASSICAL
from affetto.training.recogniser.recipe import RecogniserRecipe

API: dict[str, tuple[str, list[str]]] = {
    "Recognising": (
        "Sound in, emotions and words out. `affetto.EmotionRecogniser` and `affetto.Failure` are shorter names.",
        ["affetto.recognise.EmotionRecogniser", "affetto.streaming.Failure", "affetto.timeline.Judgement"],
    ),
    "Results": (
        "What is recognised. `affetto.Recording` and `affetto.Segment` are shorter names.",
        [
            "affetto.recording.Recording",
            "affetto.recording.Segment",
            "affetto.recording.Word",
            "affetto.formats.FORMATS",
        ],
    ),
    "Words alone": ("What `affetto asr transcribe` calls.", ["affetto.transcribe.Transcriber"]),
    "Explaining": ("What `affetto explain` calls.", ["affetto.explain.explain", "affetto.explain.write"]),
    "Encoders": (
        "Recognisers whose layers are reused ([guide](../../docs/encoders.md)).",
        [
            "affetto.models.encoders.open_encoder",
            "affetto.models.encoders.encoder.Encoder",
            "affetto.models.encoders.encoder.LayerInfo",
            "affetto.frames.Frames",
            "affetto.frames.Waves",
            "affetto.frames.pad_waves",
        ],
    ),
    "Emotion heads": (
        "What is trained on layers ([guide](../../docs/heads.md)).",
        [
            "affetto.models.heads.EmotionHead",
            "affetto.models.heads.head.HeadConfig",
            "affetto.models.heads.head.LayerConfig",
            "affetto.models.heads.head.Part",
        ],
    ),
    "Training and experiments": (
        "What `affetto train` and `affetto experiment run` call; their recipes' keys are [listed](../recipes.md).",
        ["affetto.experiment.train_emotion", "affetto.experiment.run_experiment"],
    ),
    "Scores": (
        "Each takes true classes, or what was said, and predictions.",
        [f"affetto.metrics.{name}" for name in ("uar", "accuracy", "f1_macro", "confusion", "wer", "cer")],
    ),
    "Errors": ("Every exception that is raised on purpose.", ["affetto.errors"]),
}
"""Title -> what it is about, and the names that it documents."""

RECIPES: dict[str, tuple[str, type[Config]]] = {
    "affetto experiment run": ("a table of heads, such as `recipes/crema-d.toml`", ExperimentRecipe),
    "affetto train": ("one head, such as `recipes/emotion-tiny.toml`", EmotionRecipe),
    "affetto asr train": ("a recogniser, such as `recipes/asr-tiny.toml`", RecogniserRecipe),
}
"""Command -> what it makes, and the class of its recipe."""


def pages(root: Path) -> dict[str, str]:
    """Path below the site -> Markdown.

    Args:
        root: of the repository.
    """
    schema = json.loads((root / "docs" / "output.schema.json").read_text(encoding="utf-8"))
    return {
        **{f"reference/api/{_anchor(title)}.md": _api(title) for title in API},
        "reference/cli.md": commands(),
        "reference/recipes.md": recipes(),
        "reference/results.md": results(schema),
    }


def _api(title: str) -> str:
    about, names = API[title]
    return f"# {title}\n\n{about}\n\n" + "\n".join(f"::: {name}\n" for name in names)


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def commands() -> str:
    """Every command with its arguments and options, as ``--help`` has them."""
    intro = "# Commands\n\nThe same is printed by `affetto COMMAND --help`.\n"
    root = typer.main.get_command(app)
    return intro + "".join(_command(root, click.Context(root, info_name="affetto")))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    level = "#" * (2 + min(1, context.command_path.count(" ")))
    if context.parent is not None:
        yield f"\n{level} {context.command_path}\n"
    yield f"\n{_help(command.help or '')}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n```console\n$ {context.command_path} {usage}\n```\n"
    records = [each.get_help_record(context) for each in command.params if not getattr(each, "hidden", False)]
    rows = [(f"`{name}`", _help(" ".join((about or "").split()))) for name, about in filter(None, records)]
    if rows:
        yield "\n" + _table(("argument or option", ""), rows)
    for name, part in sorted(getattr(command, "commands", {}).items()):
        if not part.hidden:
            yield from _command(part, click.Context(part, info_name=name, parent=context, **part.context_settings))


def _help(text: str) -> str:
    """Help as Markdown: a line that is cyan on a terminal is a command, other cyan is code, what is bold is bold."""
    lines = inspect.cleandoc(text).replace("\b", "").replace("\f", "").replace(r"\[", "[").splitlines()
    marked = [re.sub(r"^\[cyan\](.*)\[/\]$", r"```console\n$ \1\n```", line) for line in lines]
    joined = re.sub(r"(?<!\n)\n```console", r"\n\n```console", "\n".join(marked)).replace("\n```\n\n```console\n", "\n")
    return re.sub(r"\[bold\](.*?)\[/\]", r"**\1**", re.sub(r"\[cyan\](.*?)\[/\]", r"`\1`", joined, flags=re.DOTALL))


def recipes() -> str:
    """Every key that a recipe may have, with what it means, its kind and its default."""
    heads = {kind: HEADS.load(kind) for kind in HEADS.names()}
    shapes: tuple[type[Config], ...] = (DeepSpeech2Config, WhisperCtcConfig)
    known = [*(recipe for _, recipe in RECIPES.values()), *heads.values(), *CLASSICAL.values(), *shapes]
    parts = [
        "# Keys of recipes\n\nRecipes are TOML; a key that does not exist is an error. Every recipe may begin with "
        '`like = "other.toml"`, and then has the keys of that one but for those named anew.\n',
        *(f"\n## {name}\n\nMakes {about}.\n\n{_keys(recipe)}" for name, (about, recipe) in RECIPES.items()),
        "\n## Heads\n\n`[head]`, or the `model` of a row, by its `kind`.\n",
        *(_section(kind, head) for kind, head in heads.items()),
        "\n## Classical rows\n\nThe `model` of a row of an experiment, too.\n",
        *(_section(kind, row) for kind, row in CLASSICAL.items()),
        "\n## Shapes\n\nOf a recogniser's `model`.\n",
        *(_section(str(each.model_fields["kind"].default), each) for each in shapes),
        "\n## Tables\n\nWhat the keys above refer to.\n",
        *(_section(each.__name__, each) for each in _nested(known)),
    ]
    return "".join(parts)


def _section(title: str, config: type[Config]) -> str:
    summary = " ".join((inspect.getdoc(config) or "").partition("\n\n")[0].split())
    return f"\n### {title}\n\n{summary}\n\n{_keys(config)}"


def _nested(known: list[type[Config]]) -> list[type[Config]]:
    """The classes that those refer to, directly or by others."""
    classes = {each.__name__: each for each in _subclasses(Config)}
    names = {name for each in known for name in each.model_json_schema().get("$defs", {})} - set(_REFERENCES)
    return [classes[name] for name in sorted(names) if classes[name] not in known]


def _subclasses(parent: type[Config]) -> Iterator[type[Config]]:
    for each in parent.__subclasses__():
        yield each
        yield from _subclasses(each)


def _keys(config: type[Config]) -> str:
    schema, about = config.model_json_schema(), {"kind": "the name of the kind"} | described(config)
    rows = []
    for name, field in config.model_fields.items():
        default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        rows.append((f"`{name}`", about.get(name, ""), _kind(_properties(schema)[name]), default))
    return _table(("key", "", "kind", "default"), rows)


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a schema; one that refers to itself is among its own definitions."""
    return (schema if "properties" in schema else schema["$defs"][_last(schema["$ref"])])["properties"]


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]


def described(config: type[Config]) -> dict[str, str]:
    """What the comments, or the docstrings, of a class and its parents say of each key."""
    found: dict[str, str] = {}
    for each in reversed([parent for parent in config.__mro__ if issubclass(parent, Config)]):
        for section in Docstring(inspect.cleandoc(each.__doc__ or "")).parse("google", warnings=False):
            if isinstance(section, DocstringSectionAttributes):
                found |= {item.name: " ".join(item.description.split()) for item in section.value}
        found |= _comments(textwrap.dedent(inspect.getsource(each)))
    return found


def _comments(source: str) -> dict[str, str]:
    """Of each field of a class: the comment behind it, or the lines above it."""
    lines, found = source.splitlines(), {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    [parent] = ast.parse(source).body
    for node in getattr(parent, "body", ()):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            behind = [comments[line] for line in range(node.lineno, (node.end_lineno or 0) + 1) if line in comments]
            above, line = [], node.lineno - 1
            while line in comments and lines[line - 1].lstrip().startswith("#"):
                above, line = [comments[line], *above], line - 1
            if text := " ".join([*above, *behind]):
                found[node.target.id] = text
    return found


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, Config):
        given = value.model_dump(mode="json", exclude_defaults=True)
        return f"`{_toml(given)}`" if given else "its defaults"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + " }" if value else "{}"
    return json.dumps(value, default=str)


def results(schema: Mapping[str, Any]) -> str:
    """The keys of JSON results."""
    parts = [
        "# Keys of results\n\nOf `--format json` and `jsonl`, and of `Recording.as_dict()`; the same as "
        "[JSON Schema](../docs/output.schema.json). [What they mean](../docs/output.md#json).\n",
        f"\n## A recording\n\n{_schema_table(schema)}",
    ]
    parts += [f"\n## {name}\n\n{_schema_table(each)}" for name, each in schema["$defs"].items() if "properties" in each]
    return "".join(parts)


def _schema_table(schema: Mapping[str, Any], prefix: str = "") -> str:
    return _table(("key", "", "kind", "always there"), list(_schema_rows(schema, prefix)))


def _schema_rows(schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, each in schema["properties"].items():
        there = "yes" if name in schema.get("required", ()) else "no"
        yield f"`{prefix}{name}`", each.get("description", ""), _kind(each), there
        if "properties" in each:
            yield from _schema_rows(each, f"{prefix}{name}.")


_NAMES = {"string": "text", "boolean": "true or false", "object": "table"}
_REFERENCES = {
    "probabilities": "table: emotion to number",
    "dimensions": "table: dimension to number",
    "HeadConfig": "[a head](#heads)",
    "ClassicalConfig": "[a classical row](#classical-rows)",
    "RecogniserConfig": "[a shape](#shapes)",
    "RecogniserRecipe": "path",
}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _kind(schema: Mapping[str, Any]) -> str:
    """A JSON schema in few words."""
    if "$ref" in schema:
        name = _last(schema["$ref"])
        return _REFERENCES.get(name, f"[{name}](#{name.lower()})")
    for either in ("anyOf", "oneOf"):
        if either in schema:
            return " or ".join(dict.fromkeys(_kind(each) for each in schema[either] if each.get("type") != "null"))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{json.dumps(each)}`" for each in schema.get("enum", [schema.get("const")]))
    return _plain(schema)


def _plain(schema: Mapping[str, Any]) -> str:
    kinds = schema.get("type", "anything")
    if kinds == "array" and "prefixItems" in schema:
        return "[" + ", ".join(_kind(each) for each in schema["prefixItems"]) + "]"
    if kinds == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if kinds == "object" and "additionalProperties" in schema:
        return f"table: name to {_kind(schema['additionalProperties'])}"
    if schema.get("format") == "path":
        return "path"
    bounds = [f"{sign} {schema[name]:,}" for name, sign in _BOUNDS.items() if name in schema]
    names = [_NAMES.get(each, each) for each in ([kinds] if isinstance(kinds, str) else kinds)]
    return " or ".join(names) + (f", {' and '.join(bounds)}" if bounds else "")


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Cells that are code may have a bar in them, others say so."""
    lines = [[cell if cell.startswith("`") else cell.replace("|", "\\|") for cell in row] for row in rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in [header, ("---",) * len(header), *lines])
