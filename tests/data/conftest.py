"""Every corpus layout, built small: the official names, two or three recordings, and flaws that must be noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.iemocap_tree import Turn, make_iemocap
from tests.data.speech_trees import Sound, pack, write_submission, write_talk


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def build_kaldi(root: Path, sound: Sound) -> None:
    """Parted in train and test, paths relative to the folder of both, one of them in another container."""
    for name in ("WAVE/S2/u3.flac", "WAVE/S1/u1.wav", "WAVE/S1/u2.wav"):
        sound(name)
    _write(root / "train" / "text", ["u1 ONE WORD", "u2 TWO  WORDS", "u4 NO SOUND", "u5 PIPED"])
    _write(
        root / "train" / "wav.scp",
        ["u1 WAVE/S1/u1.WAV", "u2\tWAVE/S1/u2.wav", "u4 WAVE/S1/u4.wav", f"u5 touch {root / 'ran'} |"],
    )
    _write(root / "train" / "utt2spk", ["u1 s1", "u2 s1", "u4 s1", "u5 s1"])
    _write(root / "test" / "text", ["u3 THREE", "u6"])
    _write(root / "test" / "wav.scp", ["u3 WAVE/S2/u3.wav", "u6 WAVE/S2/u3.wav"])
    _write(root / "test" / "utt2spk", ["u3 s2", "u6 s2"])


def build_common_voice(root: Path, sound: Sound) -> None:
    """A language's folder, with a quotation mark that opens and never closes."""
    sound("en/clips/common_voice_en_2.mp3")
    sound("en/clips/common_voice_en_1.flac")
    header = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tvariant\tlocale\tsegment"
    rest = "2\t0\t\t\t\t\ten\t"
    rows = [
        f'bob\tcommon_voice_en_2.mp3\t"Quoted, he said.\t{rest}',
        f"ann\tcommon_voice_en_1.mp3\tA line\u2028apart.\t{rest}",
        f"ann\tcommon_voice_en_9.mp3\tNo sound.\t{rest}",
        f"\tcommon_voice_en_1.mp3\tNo speaker.\t{rest}",
        f"ann\tcommon_voice_en_1.mp3\t\t{rest}",
        "ann\tcut short",
    ]
    _write(root / "en" / "validated.tsv", [header, *rows])


def build_lj_speech(root: Path, sound: Sound) -> None:
    sound("wavs/LJ001-0002.opus")
    sound("wavs/LJ001-0001.wav")
    _write(
        root / "metadata.csv",
        [
            "LJ001-0002|in 1455,|in fourteen fifty-five,",
            "LJ001-0001|Printing,|Printing,",
            "LJ001-0003|lost|lost",
            "nothing",
            "LJ001-0001||",
        ],
    )


def build_librispeech(root: Path, sound: Sound) -> None:
    for name in ("dev-clean/84/1/84-1-0001.flac", "dev-clean/84/1/84-1-0000.flac", "test-clean/61/7/61-7-0000.flac"):
        sound(name)
    _write(root / "dev-clean" / "84" / "1" / "84-1.trans.txt", ["84-1-0000 GO DO YOU HEAR", "84-1-0002 LOST"])
    _write(root / "dev-clean" / "84" / "1" / "._84-1.trans.txt", ["\x00\x05\x16"])
    _write(root / "test-clean" / "61" / "7" / "61-7.trans.txt", ["61-7-0000 HE BEGAN"])
    _write(root / "SPEAKERS.TXT", ["84 | F | dev-clean | 8.02 | Christie Nowak"])


def build_jsonl(root: Path, sound: Sound) -> None:
    sound("audio/b.wav")
    sound("audio/a.opus")
    lines = [
        {"audio": "audio/b.wav", "speaker": "ann", "text": "hello", "emotion": "anger", "votes": {"anger": 2}},
        {"audio": "audio/a.wav", "speaker": "bob"},
        {"audio": "audio/lost.wav", "speaker": "bob"},
    ]
    _write(root / "manifest.jsonl", [json.dumps(line) for line in lines])


def build_csv(root: Path, sound: Sound) -> None:
    """A list as a spreadsheet writes it: byte order mark, CRLF, quoted commas and lines, empty cells."""
    for name in ("audio/b.wav", "audio/a.opus", "long.wav"):
        sound(name)
    rows = [
        "\ufeffaudio, speaker,emotion,text,start_s,end_s,votes_anger,votes_fear,rating_E1,rating_E 2,dimension_valence",
        'audio/b.wav,ann,anger,"Well, ""no"".\r\nNever.",,,2,0,anger; fear,anger,-0.5',
        "audio/a.wav,bob,,,,,,,,,",
        ",,,,,,,,,,",
        "long.wav,bob,fear,,0.01,.05,,3,,fear;,",
        "audio/lost.wav,bob,,,,,,,,,",
    ]
    (root / "manifest.csv").write_bytes("\r\n".join(rows).encode())


def build_crema_d(root: Path, sound: Sound) -> None:
    for stem in ("1001_DFA_ANG_XX", "1040_ITH_SAD_X", "1002_IEO_HAP_HI", "1002_XYZ_HAP_HI", "notes"):
        sound(f"AudioWAV/{stem}.wav")
    (root / "AudioWAV" / "._1001_DFA_ANG_XX.wav").write_bytes(b"debris")
    _write(
        root / "processedResults" / "tabulatedVotes.csv",
        [
            '"","A","D","F","H","N","S","fileName","numResponses","meanEmoResp","meanAngerResp","meanDisgustResp"'
            ',"meanFearResp","meanHappyResp","meanNeutralResp","meanSadResp"',
            '"100001",6,2,0,0,1,0,"1001_DFA_ANG_XX",9,NA,60,45,-1,-1,90,-1',
            '"103234",0,0,2,0,5,3,"1040_ITH_SAD_XX",10,55,-1,-1,50,-1,80,20',
            '"200001",0,9,0,0,0,0,"1001_DFA_ANG_XX",9,99,-1,99,-1,-1,-1,-1',
            '"300001",0,0,9,0,0,0,"1001_DFA_ANG_XX",9,99,-1,-1,99,-1,-1,-1',
            '"100002",0,0,many,0,0,0,"1002_IEO_HAP_HI",9,99,-1,-1,99,-1,-1,-1',
        ],
    )


def build_class_folders(root: Path, sound: Sound) -> None:
    names = ("Angry/anna/1.wav", "Angry/ben/1.flac", "happiness/anna/1.wav", "laughter/cleo/1.wav")
    flaws = ("happiness/loose.wav", "happiness/ben/takes/2.wav", "loose.wav")
    for name in (*names, *flaws):
        sound(name)
    (root / "laughter" / "._debris.wav").write_bytes(b"debris")
    (root / ".hidden" / "sad").mkdir(parents=True)


def build_emodb(root: Path, sound: Sound) -> None:
    for stem in ("03a01Fa", "16b10Lb", "08a05N", "03a03Fa", "03a01Xa", "notes"):
        sound(f"wav/{stem}.wav")
    sound("wav/10b03Ta.flac")
    (root / "wav" / "._03a01Fa.wav").write_bytes(b"debris")


def build_ravdess(root: Path, sound: Sound) -> None:
    """As unpacked from the archives of speech and of song, with films of the same takes."""
    speech, song = "Audio_Speech_Actors_01-24", "audio_song_actors_01-24"
    for name in (
        f"{speech}/Actor_01/03-01-01-01-02-02-01.wav",
        f"{speech}/Actor_24/03-01-08-02-01-01-24.flac",
        f"{speech}/Actor_24/01-01-08-02-01-01-24.wav",
        f"{speech}/Actor_24/01-01-05-02-01-01-24.wav",
        f"{speech}/Actor_24/03-01-09-02-01-01-24.wav",
        f"{song}/Actor_01/03-02-03-01-01-01-01.wav",
    ):
        sound(name)
    for name in ("01-01-06-01-01-01-24.mp4", "02-01-06-01-01-01-24.mp4", "cover.jpg"):
        (root / speech / "Actor_24" / name).touch()


def build_iemocap(root: Path, sound: Sound) -> None:
    """Two of the five sessions, with everything the real files are known for; what each means stands in the tests."""
    release = make_iemocap(
        root,
        [
            Turn("Ses01F_impro01_F000", "neu", (("C-E2", "Neutral"), ("C-E3", "Neutral; Frustration"))),
            Turn("Ses01F_impro01_M000", "xxx", (("C-E2", "Anger"), ("C-E3", "Sadness"), ("C-M1", "Other"))),
            Turn("Ses03M_impro05a_F010", "exc", (("C-E1", "Excited"),), text=None),
            Turn("Ses03M_script01_1b_M001", "fru", (("C-E1", "Neutral state"), ("C-E4", "Frustration; Anger"))),
            Turn("Ses03M_script01_1b_M002", "ang"),
        ],
    )
    third = release / "Session3"
    evaluations = third / "dialog" / "EmoEvaluation"
    (evaluations / "._Ses03M_impro05a.txt").write_bytes(b"\x00\x05\x16\x07debris")
    for folder in ("Categorical", "Attribute", "Self-evaluation"):
        _write(evaluations / folder / "Ses03M_impro05a_e1_cat.txt", ["Ses03M_impro05a_F010 :Anger; ()"])
    with (evaluations / "Ses03M_script01_1b.txt").open("ab") as file:
        file.write(
            b"[1.0 - 2.0]\tSes03M_script01_1b_F000\tsad\t[2.0000, 2.5000, 3.0000]\r\n"
            b"C-E1:\tSadness;\t(d\xe9j\xe0 vu; (Anger; or not\r\n"
            b"C-E2:\tAnnoyed; Sadness; Sadness;\t()\r\n"
            b"C-E3:\t;\t()\r\n"
            b"A-E3:\tval ; act 2; dom  ;\t()\r\n"
        )
    (third / "dialog" / "transcriptions" / "Ses03M_script01_1b.txt").write_bytes(
        b"Ses03M_script01_1b_F000 [001.0000-002.0000]: A caf\xe9 I\x92d like.\r\nM: mm-hm\r\n"
        b"Ses03M_script01_1b_M001 [003.0000-004.0000]: No.\r\n"
    )
    sounds = third / "sentences" / "wav" / "Ses03M_script01_1b"
    (sounds / "Ses03M_script01_1b_M002.wav").unlink()
    sound(str((sounds / "Ses03M_script01_1b_F000.flac").relative_to(root)))
    sound(str((sounds / "Ses03M_script01_1b_F001.wav").relative_to(root)))
    (sounds / "._Ses03M_script01_1b_F001.wav").write_bytes(b"debris")


def build_meld(root: Path, sound: Sound) -> None:
    """Two of the three parts, one unpacked into a folder of its name; what each line means stands in the tests."""
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
    rest = '8,21,"00:16:16,059","00:16:21,731"'
    for name in ("dia0_utt0.mp4", "dia0_utt1.mp4", "dia3_utt0.wav"):
        sound(f"train/train_splits/{name.replace('.mp4', '.wav')}")
    for name in ("dia0_utt0", "dia0_utt1"):
        films = root / "train" / "train_splits"
        (films / f"{name}.wav").rename(films / f"{name}.mp4")
    (root / "train" / "train_splits" / "._dia0_utt0.mp4").write_bytes(b"debris")
    _write(
        root / "train" / "train_sent_emo.csv",
        [
            head,
            f'1,"also I was, ""the point"" person",Chandler,neutral,neutral,0,0,{rest}',
            f"2,You must\u0092ve had your hands full.,The Interviewer,joy,positive,0,1,{rest}",
            f"3,No.,Joey,anger,negative,3,0,{rest}",
            f"4,Gone.,Joey,anger,negative,3,1,{rest}",
            f"5,Whose?,,anger,negative,3,2,{rest}",
            f"6,Broken,Joey,anger,negative,three,2,{rest}",
        ],
    )
    sound("dev_splits_complete/dia110_utt6.wav")
    _write(
        root / "dev_sent_emo.csv",
        [head, f"1,Oh!,Ross,surprise,negative,110,6,{rest}", f"2,Oh?,Ross,surprise,negative,110,7,{rest}"],
    )


def build_tedlium(root: Path, sound: Sound) -> None:
    """Two of the three parts; what each line means stands in the tests."""
    write_talk(
        root / "train",
        "AaronHuey_2010X",
        [
            "AaronHuey_2010X 1 AaronHuey_2010X 0.01 0.04 <o,f0,male> i 'm here to show you my photographs",
            "AaronHuey_2010X 1 inter_segment_gap 0.04 0.05 <o,,unknown> ignore_time_segment_in_scoring",
            "AaronHuey_2010X 1 AaronHuey_2010X 0.05 0.09 <o,f0,male> of the <unk> and many other people of the plains",
            "AaronHuey_2010X 1 AaronHuey_2010X 0.05 0.08 <o,f0,male> <unk>",
            "AaronHuey_2010X 1 AaronHuey_2010X 0.05 0.07 <o,f0,male> the <unk> people",
            "AaronHuey_2010X 1 AaronHuey_2010X 0.08 0.07 <o,f0,male> backwards",
        ],
        sound,
    )
    write_talk(
        root / "test",
        "JaneMcGonigal_2010",
        [
            ";; a comment",
            "JaneMcGonigal_2010 1 JaneMcGonigal_2010 0 0.06 <o,f0,female> it doesn 't(2) hurt {BREATH} anybody 's game",
            "Lost_2010 1 Lost_2010 0 0.06 <o,f0,female> no sound",
        ],
        sound,
    )
    (root / "train" / "stm" / "._AaronHuey_2010X.stm").write_bytes(b"debris")
    _write(root / "README", ["TED-LIUM corpus release 2"])


def build_voxforge(root: Path, sound: Sound) -> None:
    """Submissions whole, packed and in every state of disrepair; what each means stands in the tests."""
    write_submission(root, "Ann-20080101-abc", {"a0001": "THE WORDS", "a0002": "MORE WORDS"}, sound)
    write_submission(root, "ann-20090202-xyz", {"b1": "Said again."}, sound, suffix=".flac", prompts="prompts-original")
    write_submission(root, "anonymous-20100303-dey", {"c1": "WHO KNOWS"}, sound, readme="User Name:anonymous")
    lost = write_submission(root, "ben-20080101-abc", {"a1": "LOST", "a2": "FOUND"}, sound)
    (lost / "wav" / "a1.wav").rename(lost / "wav" / "a3.wav")
    (write_submission(root, "cleo-20080101-abc", {"a1": "X"}, sound) / "etc" / "PROMPTS").unlink()
    (write_submission(root, "dan-20080101-abc", {"a1": "X"}, sound) / "wav" / "a1.wav").unlink()
    _write(root / "eve-20080101-abc" / "notes.txt", ["nothing here"])
    pack(write_submission(root, "fay-20080101-abc", {"a1": "PACKED"}, sound), root)


BUILDERS = {
    "class_folders": build_class_folders,
    "common_voice": build_common_voice,
    "crema_d": build_crema_d,
    "csv": build_csv,
    "emodb": build_emodb,
    "iemocap": build_iemocap,
    "jsonl": build_jsonl,
    "kaldi": build_kaldi,
    "librispeech": build_librispeech,
    "lj_speech": build_lj_speech,
    "meld": build_meld,
    "ravdess": build_ravdess,
    "tedlium": build_tedlium,
    "voxforge": build_voxforge,
}


@pytest.fixture
def build(tmp_path: Path, make_sound: Callable[..., Path]) -> Callable[[str], Path]:
    """Builds the layout of that name in a folder of its own, and gives the folder."""

    def build_named(name: str) -> Path:
        BUILDERS[name](tmp_path / name, lambda path: make_sound(f"{name}/{path}", duration_s=0.1))
        return tmp_path / name

    return build_named
