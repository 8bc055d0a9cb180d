"""Parts of speech corpora in their official layouts, for the tests of readers and of what is built on them."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Sound = Callable[[str], Path]
"""Writes a short recording of that name, relative to the corpus that is built."""

README = """\
User Name:{name}

Speaker Characteristics:

Gender: Female
Age Range: Adult
Language: EN
Pronunciation dialect: American English

File Info:

File type: wav
Sampling Rate: 48000
"""


def _write(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_talk(part: Path, name: str, lines: Sequence[str], sound: Sound) -> None:
    """A talk of TED-LIUM and its segments, in a part such as ``.../tedlium/train``."""
    sound(f"{part.name}/sph/{name}.sph")
    _write(part / "stm" / f"{name}.stm", lines)


def write_submission(
    root: Path,
    name: str,
    words: Mapping[str, str],
    sound: Sound,
    *,
    suffix: str = ".wav",
    prompts: str = "PROMPTS",
    readme: str | None = None,
) -> Path:
    """A submission to VoxForge in ``root``, where sounds go, too: the words of each recording; gives its folder."""
    prefix = f"{name}/mfc/" if prompts == "PROMPTS" else ""
    _write(root / name / "etc" / prompts, [f"{prefix}{stem} {said}" for stem, said in words.items()])
    user = name.partition("-")[0]
    _write(root / name / "etc" / "README", (readme or README.format(name=user)).split("\n"))
    _write(root / name / "LICENSE", ["GPL"])
    for stem in words:
        sound(f"{name}/{suffix[1:]}/{stem}{suffix}")
    return root / name


def pack(submission: Path, into: Path) -> Path:
    """Packs a submission as VoxForge does, and takes the folder away."""
    archive = into / f"{submission.name}.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(submission, arcname=submission.name)
    shutil.rmtree(submission)
    return archive
