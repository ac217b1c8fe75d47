"""Labelled recordings in every layout that is known, and in some that make no sense."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ast_cli.errors import ExitCode, UsageError
from ast_cli.scoring.labels import audioset_classes, speech_commands_names
from ast_cli.training.datasets import Dataset, LabelledClip, read_dataset
from ast_cli.training.tables import open_table

SPEECH, DOG, MUSIC = "/m/09x0r", "/m/0bt9lr", "/m/04rlf"
HEAD = (
    "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=3\n"
    "# YTID, start_seconds, end_seconds, positive_labels\n"
)
ID = "-abc_DEF-12"


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        write(folder / name)


def heard(dataset: Dataset, folder: Path) -> dict[str, list[str]]:
    """The names of each clip's classes, by its name within a folder."""
    return {
        str(Path(clip.name).relative_to(folder)): [dataset.labels[index] for index in clip.labels]
        for clip in dataset.clips
    }


def error_of(read: Callable[[], object]) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read()
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return caught.value


# CSV with file,labels


def test_a_table_of_files_and_labels(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "sub/b c.flac")
    table = write(tmp_path / "data.csv", "file,labels\na.wav,Dog;Baby cry\nsub/b c.flac,Dog\n")
    dataset = read_dataset(table)
    assert dataset.labels == ("Baby cry", "Dog")
    assert dataset.multi_label
    assert heard(dataset, tmp_path) == {"a.wav": ["Dog", "Baby cry"], "sub/b c.flac": ["Dog"]}
    assert dataset.counts == (1, 2)
    assert (dataset.splits, dataset.folds, dataset.missing, dict(dataset.unknown)) == ((), (), (), {})


def test_one_label_each_is_single_label(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    assert not read_dataset(write(tmp_path / "d.csv", "labels,file\ncat,a.wav\ndog,b.wav\n")).multi_label


def test_optional_columns_are_read(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    rows = "file,labels,start,end,fold,split\na.wav,x,1.5,2,10,dev\na.wav,y,,3,2,train\na.wav,x,4,,,\n"
    dataset = read_dataset(write(tmp_path / "d.csv", rows))
    file = str(tmp_path / "a.wav")
    assert dataset.clips == (
        LabelledClip(file, (0,), 1.5, 2.0, "10", "validation"),
        LabelledClip(file, (1,), None, 3.0, "2", "train"),
        LabelledClip(file, (0,), 4.0, None, None, None),
    )
    assert [clip.name for clip in dataset.clips] == [f"{file}#t={part}" for part in ("1.5,2", "0,3", "4")]
    assert dataset.splits == ("train", "validation")
    assert dataset.folds == ("2", "10")
    assert [clip.end for clip in dataset.of_split("val").clips] == [2.0]
    assert [clip.end for clip in dataset.of_fold("2").clips] == [3.0]
    assert [clip.end for clip in dataset.without_fold("2").clips] == [2.0, None]
    assert read_dataset(tmp_path / "d.csv", split="valid").clips == dataset.of_split("validation").clips
    assert read_dataset(tmp_path / "d.csv", fold="10").labels == ("x", "y")


def test_what_other_programs_write_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "a, b.wav", "c.wav")
    table = tmp_path / "d.csv"
    table.write_bytes(b'\xef\xbb\xbffile, labels\r\n"a, b.wav" , Dog ; Cat ;Dog\r\n\r\n./c.wav,Cat\r\n')
    assert [clip.labels for clip in read_dataset(table).clips] == [(1, 0), (0,)]


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("header", ["file,labels,start", "File,Labels,START"])
def test_what_spreadsheets_separate_otherwise_is_read(tmp_path: Path, separator: str, header: str) -> None:
    touch(tmp_path, "a.wav", "b, c.wav")
    rows = f'{header}\na.wav,"Dog;Cat",\n"b\0 c.wav",Cat,1.5\n'
    path = write(tmp_path / "d.tsv", rows.replace(",", separator).replace("\0", ","))
    dataset = read_dataset(path)
    assert heard(dataset, tmp_path) == {"a.wav": ["Dog", "Cat"], "b, c.wav#t=1.5": ["Cat"]}
    assert dataset.multi_label


def test_labels_that_are_not_quoted_are_not_dropped(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    for separator in ",;":
        path = write(tmp_path / "d.csv", "file,labels\na.wav,Dog,Cat\n".replace(",", separator))
        error = error_of(lambda path=path: read_dataset(path))
        assert "line 2: 3 cells are more than the columns. Quote" in str(error)
    assert read_dataset(write(tmp_path / "d.csv", "file,labels\na.wav,Dog, ,\n")).labels == ("Dog",)


def test_a_header_is_not_recommended_to_itself(tmp_path: Path) -> None:
    error = error_of(lambda: read_dataset(write(tmp_path / "d.csv", "file|labels\na.wav|Dog\n")))
    assert "Did you mean" not in str(error)
    assert "The header should be file,labels" in str(error)


def test_paths_that_windows_wrote_are_found(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.wav", r"odd\name.wav")
    rows = "file,labels\nsub\\a.wav,x\nodd\\name.wav,y\nC:\\data\\a.wav,y\n"
    dataset = read_dataset(write(tmp_path / "d.csv", rows))
    # A file that is called so is meant.
    assert [clip.file for clip in dataset.clips] == [f"{tmp_path}/sub/a.wav", f"{tmp_path}/odd\\name.wav"]
    assert len(dataset.missing) == 1
    moved = read_dataset(tmp_path / "d.csv", audio=tmp_path / "sub")
    assert [clip.file for clip in moved.clips] == [f"{tmp_path}/sub/a.wav"] * 2


def test_a_table_may_come_through_a_pipe(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    reading, writing = os.pipe()
    os.write(writing, f"\ufefffile;labels\n{tmp_path}/a.wav;Dog\n".encode())
    os.close(writing)
    with open_table(Path(f"/dev/fd/{reading}")) as table:
        assert table.header() == ["file", "labels"]
    os.close(reading)


def test_names_that_are_not_utf8_come_through(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    table = tmp_path / "d.csv"
    table.write_bytes(b"file,labels\ncaf\xe9.wav,x\n")
    assert read_dataset(table).clips[0].file == str(tmp_path / name)


def test_a_table_that_shows_control_characters_names_the_file(tmp_path: Path) -> None:
    touch(tmp_path, "\x1b[2J\x9b.wav", r"\x1b.wav")
    rows = r"""file,labels
\x1b[2J\xc2\x9b.wav,Do\x07g
\x1b.wav,Cat
"""
    dataset = read_dataset(write(tmp_path / "d.csv", rows))
    # A file that is called like an escape is meant.
    assert heard(dataset, tmp_path) == {"\x1b[2J\x9b.wav": ["Do\x07g"], r"\x1b.wav": ["Cat"]}


def test_missing_files_are_named_and_end_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "folder.wav").mkdir()
    rows = "file,labels,split\na.wav,x,test\nb.wav,x,test\nfolder.wav,x,test\n/no/c.wav,x,train\n"
    table = write(tmp_path / "d.csv", rows)
    dataset = read_dataset(table, split="test")
    assert len(dataset.clips) == 1
    assert dataset.missing == (str(tmp_path / "b.wav"), str(tmp_path / "folder.wav"))
    assert len(read_dataset(table, files_needed=False).clips) == 4


def test_recordings_elsewhere_are_found(tmp_path: Path) -> None:
    touch(tmp_path, "audio/x/a.wav", "audio/b.wav")
    table = write(tmp_path / "meta/d.csv", "file,labels\nx/a.wav,one\n/gone/b.wav,two\n")
    assert read_dataset(table, audio=tmp_path / "audio").missing == ()


def test_a_folder_is_listed_once_and_no_file_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.wav" for number in range(50)]
    touch(tmp_path, *names)
    table = write(tmp_path / "d.csv", "file,labels\n" + "".join(f"{name},x\n" for name in names))
    looked: list[object] = []
    for name in ("scandir", "stat"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, real=real, **more: looked.append(args) or real(*args, **more)
        )
    assert len(read_dataset(table).clips) == 50
    assert len(looked) < 10


# A checkpoint's classes


def test_labels_are_put_in_the_order_of_a_checkpoint_by_name_or_mid(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    table = write(tmp_path / "d.csv", f"file,labels\na.wav,Dog\nb.wav,{MUSIC};{SPEECH}\n")
    dataset = read_dataset(table, labels=("Music", "Dog", "Speech"))
    assert dataset.labels == ("Music", "Dog", "Speech")
    assert [clip.labels for clip in dataset.clips] == [(1,), (0, 2)]
    assert dataset.without_clips == ()


def test_mids_without_a_checkpoint_get_their_names(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    table = write(tmp_path / "d.csv", f"file,labels\na.wav,{DOG}\nb.wav,Dog\n")
    assert read_dataset(table).labels == ("Dog",)


def test_what_audioset_knows_but_the_checkpoint_does_not_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav", "c.wav")
    table = write(tmp_path / "d.csv", f"file,labels\na.wav,Dog;Music\nb.wav,{MUSIC}\nc.wav,Human voice\n")
    dataset = read_dataset(table, labels=("Speech", "Dog"))
    assert [clip.labels for clip in dataset.clips] == [(1,), (), ()]
    assert dict(dataset.unknown) == {"Music": 2, "Human voice": 1}


def test_single_label_clips_of_other_classes_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "Dog/a.wav", "Music/b.wav")
    dataset = read_dataset(tmp_path, labels=("Speech", "Dog"))
    assert heard(dataset, tmp_path) == {"Dog/a.wav": ["Dog"]}
    assert dict(dataset.unknown) == {"Music": 1}


# AudioSet's segments


@pytest.mark.parametrize(
    ("name", "part"),
    [
        (f"{ID}.wav", (30.0, 40.0)),
        (f"Y{ID}.flac", (30.0, 40.0)),
        (f"{ID}_30.000.wav", (None, None)),
        (f"{ID}_30.ogg", (None, None)),
        (f"{ID}_30000.wav", (None, None)),
        (f"Y{ID}_30.000_40.000.wav", (None, None)),
        (f"sub/{ID}_30_40.m4a", (None, None)),
    ],
)
def test_a_segment_is_found_under_the_names_it_is_handed_round_with(
    name: str, part: tuple[float | None, float | None], tmp_path: Path
) -> None:
    touch(tmp_path, f"audio/{name}", f"audio/{ID}_99.wav", f"audio/{ID}.txt")
    table = write(tmp_path / "eval.csv", f'{HEAD}{ID}, 30.000, 40.000, "{SPEECH},{DOG}"\n')
    [clip] = read_dataset(table, audio=tmp_path / "audio").clips
    assert clip.file == str(tmp_path / "audio" / name)
    assert (clip.start, clip.end) == part
    assert clip.may_be_cut == (part[0] is not None)


def test_audiosets_own_table(tmp_path: Path) -> None:
    touch(tmp_path, "-1_JbxZPvdM.wav", "bbbbbbbbbbb.wav")
    rows = (
        f'-1_JbxZPvdM, 0.000, 10.000, "{SPEECH},{DOG}"\nbbbbbbbbbbb, 20.000, 30.000, "{MUSIC}"\n'
        f'ccccccccccc, 5.000, 8.500, "{MUSIC}"\n'
    )
    dataset = read_dataset(write(tmp_path / "eval_segments.csv", HEAD + rows))
    assert dataset.labels == tuple(node.name for node in audioset_classes())
    assert dataset.multi_label
    assert [clip.labels for clip in dataset.clips] == [(0, 74), (137,)]
    assert dataset.missing == ("ccccccccccc#t=5,8.5",)
    assert len(dataset.without_clips) == 524
    bare = read_dataset(write(tmp_path / "bare.csv", rows))
    assert bare == dataset


# The original AST's JSON


def test_the_original_json_and_class_table(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.wav", "b.wav")
    items = [
        {"wav": str(tmp_path / "x/a.wav"), "labels": "/m/07rwj01,/m/07rwj00"},
        {"wav": "b.wav", "labels": ""},
    ]
    data = write(tmp_path / "eval.json", json.dumps({"data": items}))
    classes = write(
        tmp_path / "classes.csv", 'index,mid,display_name\n0,/m/07rwj00,"Dog, big"\n1,/m/07rwj01,Rooster\n'
    )
    dataset = read_dataset(data, classes=classes)
    assert dataset.labels == ("Dog, big", "Rooster")
    assert dataset.multi_label
    assert [clip.labels for clip in dataset.clips] == [(1, 0), ()]
    assert [clip.labels for clip in read_dataset(data, classes=classes, labels=("Rooster",)).clips] == [
        (0,),
        (),
    ]


def test_without_a_class_table_mids_are_audiosets(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    data = write(tmp_path / "d.json", json.dumps({"data": [{"wav": "a.wav", "labels": f"{DOG},{SPEECH}"}]}))
    dataset = read_dataset(data)
    assert (len(dataset.labels), dataset.clips[0].labels) == (527, (74, 0))


# Folders


@pytest.fixture
def esc50(tmp_path: Path) -> Path:
    rows = ["1-100-A-0.wav,1,0,dog", "1-17-B-10.wav,1,2,rain", "5-9-A-1.wav,5,1,sea_waves"]
    touch(tmp_path, *(f"audio/{row.split(',')[0]}" for row in rows))
    header = "filename,fold,target,category,esc10,src_file,take"
    write(tmp_path / "meta/esc50.csv", "\n".join([header, *(f"{row},True,1,A" for row in rows)]))
    return tmp_path


@pytest.mark.parametrize("named", [".", "meta/esc50.csv"])
def test_esc50_and_its_folds(named: str, esc50: Path) -> None:
    dataset = read_dataset(esc50 / named)
    assert dataset.labels == ("dog", "sea_waves", "rain")
    assert not dataset.multi_label
    assert [clip.labels for clip in dataset.clips] == [(0,), (2,), (1,)]
    assert dataset.folds == ("1", "5")
    assert len(dataset.of_fold("1").clips) == 2
    assert dataset.of_fold("1").labels == dataset.labels


def test_speech_commands_and_its_lists(tmp_path: Path) -> None:
    touch(tmp_path, "bed/a_0.wav", "bed/b_0.wav", "yes/a_0.wav", "_background_noise_/hum.wav", "LICENSE")
    write(tmp_path / "validation_list.txt", "bed/b_0.wav\n")
    write(tmp_path / "testing_list.txt", "yes/a_0.wav\nyes/gone_1.wav\n")
    dataset = read_dataset(tmp_path)
    assert dataset.labels == ("bed", "yes")
    assert not dataset.multi_label
    assert {clip.name: clip.split for clip in dataset.clips} == {
        str(tmp_path / "bed/a_0.wav"): "train",
        str(tmp_path / "bed/b_0.wav"): "validation",
        str(tmp_path / "yes/a_0.wav"): "test",
    }
    assert read_dataset(tmp_path, split="test").missing == (str(tmp_path / "yes/gone_1.wav"),)
    assert read_dataset(tmp_path, split="train").missing == ()


def test_all_words_of_speech_commands_come_in_the_published_order(tmp_path: Path) -> None:
    touch(
        tmp_path, "testing_list.txt", "validation_list.txt", *(f"{n}/a.wav" for n in speech_commands_names())
    )
    assert read_dataset(tmp_path).labels == speech_commands_names()


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    touch(tmp_path, "dog/a.wav", "dog/deep/er/b.flac", "cat, big/c.mp3", "dog/notes.txt", ".git/x.wav")
    dataset = read_dataset(tmp_path)
    assert dataset.labels == ("cat, big", "dog")
    assert not dataset.multi_label
    assert heard(dataset, tmp_path) == {
        "cat, big/c.mp3": ["cat, big"],
        "dog/a.wav": ["dog"],
        "dog/deep/er/b.flac": ["dog"],
    }


@pytest.mark.parametrize("validation", ["validation", "valid", "val", "dev"])
def test_such_folders_in_splits(validation: str, tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.wav", "train/b/2.wav", f"{validation}/a/3.wav", "test/b/4.wav")
    dataset = read_dataset(tmp_path)
    assert dataset.labels == ("a", "b")
    assert dataset.splits == ("test", "train", "validation")
    for split in (validation, "validation"):
        assert [clip.labels for clip in dataset.of_split(split).clips] == [(0,)]


# What makes no sense


def rows(*lines: str) -> str:
    return "\n".join(("file,labels,start,end", *lines))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("d.csv", "", ["is empty"]),
        ("d.wav", "RIFF", ["d.wav is a recording, and not what tells which label it has. Known are: CSV"]),
        ("d.csv", "file,labels\n", ["names no recording"]),
        ("d.csv", "file,label\na.wav,x\n", ["lacks the column labels", "file,label", "Did you mean label?"]),
        ("d.csv", "path;tags\na.wav;x\n", ["lacks the columns file, labels", "path;tags", "file,labels"]),
        ("d.csv", "file,labels\na.wav\n", ["line 2: 1 cells", "Quote"]),
        ("d.csv", rows(",x,,"), ["line 2: no file is named"]),
        ("d.csv", rows("a.wav,x,,", "a.wav,,,"), ["a.wav has no label"]),
        ("d.csv", rows("a.wav,,,"), ["no recording has a label"]),
        ("d.csv", rows("a.wav,x,2,2"), ["line 2: a part from 2 s to 2 s", "the end after it"]),
        ("d.csv", rows("a.wav,x,0,1", "a.wav,x,3,1"), ["line 3: a part from 3 s to 1 s"]),
        ("d.csv", rows("a.wav,x,-1,1"), ["line 2: a part from -1 s"]),
        ("d.csv", rows("a.wav,x,0:30,1"), ["line 2: start is '0:30'", "number"]),
        ("d.csv", rows("a.wav,x,nan,1"), ["line 2: start is 'nan'"]),
        ("d.csv", rows("gone.wav,x,,"), ["none of the 1 recordings", "gone.wav", "--audio"]),
        ("d.csv", rows("a.wav,x,,", "gone.wav,y,,"), ["no file is there for the label y", "remove its rows"]),
        ("d.csv", "\0\0RIFF\xff", ["d.csv is no text"]),
        ("d.csv", HEAD, ["names no recording"]),
        ("d.csv", HEAD + "a, 0, 10\n", ["line 4: 3 columns rather than 4"]),
        ("d.csv", HEAD + "a, 10, 0, /m/x\n", ["line 4: a part from 10 s to 0 s"]),
        ("d.csv", HEAD + f"gone, 0, 10, {SPEECH}\n", ["none of the 1 recordings", "gone", "--audio"]),
        ("d.csv", HEAD + "a, 0, 10, /m/nothing\n", ["a.wav#t=0,10 is labelled '/m/nothing'", "--classes"]),
        ("d.json", "{", ["is no JSON"]),
        ("d.json", "[]", ["no list called data"]),
        ("d.json", '{"data": [{"wav": "a.wav"}]}', ["entry 0 of data"]),
        ("d.json", '{"data": ["a.wav"]}', ["entry 0 of data"]),
        ("d.json", '{"data": []}', ["names no recording"]),
        (
            "d.json",
            '{"data": [{"wav": "a.wav", "labels": "/m/1"}]}',
            ["a.wav is labelled '/m/1', which is no class"],
        ),
        ("d.csv", "filename,fold,target,category\na.wav,1,x,dog\n", ["line 2: target x"]),
        ("d.csv", "filename,fold,target,category\na.wav,1,0,dog\na.wav,1,0,cat\n", ["line 3: target 0"]),
    ],
)
def test_a_table_that_makes_no_sense_is_one_clear_line(
    name: str, text: str, says: Iterable[str], tmp_path: Path
) -> None:
    touch(tmp_path, "a.wav")
    error = error_of(lambda: read_dataset(write(tmp_path / name, text)))
    for part in says:
        assert part in str(error)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "no folder for each class"),
        (["a.wav"], "no folder for each class"),
        (["dog/notes.txt", "cat/notes.txt"], "for the label cat, nor for any other"),
        (["train/a.wav"], "holds no labels"),
        (["testing_list.txt"], "lists but no words"),
    ],
)
def test_a_folder_that_makes_no_sense_is_one_clear_line(files: list[str], says: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    touch(folder, *files)
    assert says in str(error_of(lambda: read_dataset(folder)))


def test_a_folder_without_a_recording_is_no_class(tmp_path: Path) -> None:
    touch(tmp_path, "dog/a.wav", "cat/b.wav", "notes/n.txt")
    dataset = read_dataset(tmp_path)
    assert (dataset.labels, dataset.empty) == (("cat", "dog"), ("notes",))


def test_a_list_that_is_not_there_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "testing_list.txt", "yes/a.wav")
    assert "validation_list.txt" in str(error_of(lambda: read_dataset(tmp_path)))


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    assert "no such data set" in str(error_of(lambda: read_dataset(tmp_path / "gone.csv")))
    touch(tmp_path, "x/a.wav")
    assert "no such recordings" in str(error_of(lambda: read_dataset(tmp_path, audio=tmp_path / "gone")))
    assert "cannot read" in str(error_of(lambda: read_dataset(tmp_path, classes=tmp_path / "gone.csv")))


def test_a_split_or_fold_that_is_not_there_names_those_that_are(esc50: Path, tmp_path: Path) -> None:
    error = error_of(lambda: read_dataset(esc50, split="test"))
    assert "no split test" in str(error)
    assert "has no splits" in str(error)
    assert "There are 1, 5" in str(error_of(lambda: read_dataset(esc50, fold="2")))
    assert "There are 1, 5" in str(error_of(lambda: read_dataset(esc50).of_fold("2")))


def test_an_unknown_label_names_what_may_have_been_meant(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    table = write(tmp_path / "d.csv", "file,labels\na.wav,Speach\n")
    error = error_of(lambda: read_dataset(table, labels=("Speech", "Dog")))
    assert "a.wav is labelled 'Speach', which is no class" in error.cause
    assert error.remedy == "Did you mean Speech?"


def test_data_for_quite_other_classes_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "Dog/a.wav", "Music/a.wav")
    error = error_of(lambda: read_dataset(tmp_path, labels=("yes", "no")))
    assert "none of the labels" in error.cause
    assert "ast-tag finetune" in error.remedy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("index,mid\n", "lacks the column display_name"),
        ("index,mid,display_name\n", "does not number its classes"),
        ("index,mid,display_name\n1,/m/a,A\n", "does not number its classes"),
        ("index,mid,display_name\n0,/m/a,A\n1,/m/a,B\n", "twice"),
        ("index,mid,display_name\n0,/m/a,A\n1,/m/b,A\n", "twice"),
    ],
)
def test_a_class_table_that_makes_no_sense_is_one_clear_line(text: str, says: str, tmp_path: Path) -> None:
    touch(tmp_path, "A/a.wav")
    classes = write(tmp_path / "classes.csv", text)
    assert says in str(error_of(lambda: read_dataset(tmp_path, classes=classes)))
