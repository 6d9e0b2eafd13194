"""The page in a real browser: what a person does by pointer and by keyboard."""

import re
import time

import numpy as np
import pytest
from fakes import FakeModel, certain, whimsical_model, words_model
from web.conftest import SYMBOLS, running

from textgen.generation import poems
from textgen.generation.streaming import generate_output

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no browser is tried: Playwright isn't installed"
)
expect = playwright.expect
expect.set_options(timeout=60_000)  # of which a busy machine may take some
HOSTILE = "<script>document.title='x'</script><img src=x onerror=alert(1)>&amp;\n"
BEGINNING = "the sun"
STEP_S = 0.004


def hostile_model():
    """Return a model that writes nothing but markup."""
    symbols = sorted(set(HOSTILE))
    ids = [symbols.index(x) for x in HOSTILE]
    return FakeModel(
        "".join(symbols),
        lambda read: certain(ids[(len(read) - 1) % len(ids)], len(symbols)),
    )


class SlowModel(FakeModel):
    """Takes some time for each character."""

    def decoder(self, batch_size=1):
        decoder = super().decoder(batch_size)
        quick = decoder.step

        def step(ids):
            time.sleep(STEP_S)
            return quick(ids)

        decoder.step = step
        return decoder


@pytest.fixture(scope="module")
def page_models(models):
    trained = whimsical_model(SYMBOLS)
    return {
        "trained": trained,
        "slow": SlowModel(SYMBOLS, trained.rule),
        "hostile": hostile_model(),
        "words": words_model(),
        "dinos": models["dinos"],
    }


@pytest.fixture(scope="module")
def address(page_models):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poems, "HALF_ROWS", 12)
        with running(page_models) as address:
            yield address


@pytest.fixture
def visit(browser, address):
    """Return a function that opens the page as another user; nothing may go wrong."""
    troubles, contexts = [], []

    def open_one(to=address, is_ready=True, **options):
        context = browser.new_context(accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda said: troubles.append(said.text))
        page.goto(to)
        if is_ready:
            expect(page.locator("#write")).to_be_enabled()
        return page

    yield open_one
    for context in contexts:
        context.close()
    expected = "Failed to load resource: the server responded with a status of 4"
    assert not [each for each in troubles if not each.startswith(expected)]


def text_of(page):
    return page.evaluate("document.getElementById('text').textContent")


def status(page):
    return expect(page.locator("#status"))


def write(page, beginning=BEGINNING, seed="7", length=60, **options):
    page.fill("#draft", beginning)
    page.fill("#seed", seed)
    if page.locator("#length").is_visible():
        options["length"] = length
    for name, value in options.items():
        page.locator(f"#{name}").fill(str(value))
    page.click("#write")


def wait_for_new(page, count):
    """Wait until so many characters have come after the beginning."""
    expect(page.locator("#text")).to_have_text(
        re.compile(rf"^{BEGINNING}[\s\S]{{{count}}}")
    )


def own_text(model, beginning=BEGINNING, **options):
    return generate_output(model, beginning, **{"length": 60, "seed": 7, **options})


def test_a_beginning_is_completed_as_textgen_does_it(visit, page_models):
    page = visit()
    write(page, temperature=0.9, top_p=0.8)
    status(page).to_have_text("60 characters, seed 7.")
    model = page_models["trained"]
    text = own_text(model, temperature=0.9, top_p=0.8)
    assert text_of(page) == text
    page.click("#again")
    status(page).to_have_text("60 characters, seed 8.")
    assert text_of(page) == own_text(model, temperature=0.9, top_p=0.8, seed=8)
    page.click("#undo")
    assert text_of(page) == text
    page.click("#go-on")
    status(page).to_have_text("60 characters, seed 8.")
    assert text_of(page)[: len(text)] == text
    assert len(text_of(page)) == len(text) + 60
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.path().read_text(encoding="utf-8") == text_of(page)
    page.click("#edit")
    assert page.input_value("#draft") == text_of(page)


def test_a_page_begins_with_a_first_text_and_a_prompt_to_try(visit, page_models):
    page = visit()
    expect(page.locator("h1")).to_have_text("Trained")
    text = own_text(page_models["trained"], "", length=400, seed=1)
    status(page).to_have_text("400 characters, seed 1.")
    assert text_of(page) == text
    prompt = page.input_value("#draft")
    assert prompt
    assert text.lstrip().startswith(prompt)
    page.fill("#draft", BEGINNING)
    page.click("#undo")
    page.reload()  # an empty text with a beginning of one's own stays as it is
    expect(page.locator("#write")).to_be_enabled()
    assert (text_of(page), page.input_value("#draft")) == ("", BEGINNING)


def test_a_page_of_names_begins_with_some(visit, serving, page_models):
    page = visit(serving({"dinos": page_models["dinos"]}))
    status(page).to_contain_text("16 names, seed 1.")
    assert page.title() == "Dinos"
    assert page.input_value("#draft") == ""


def test_without_a_seed_each_text_is_another_and_its_seed_repeats_it(visit):
    page = visit()
    write(page, seed="")
    status(page).to_contain_text("seed")
    first, told = text_of(page), page.locator("#status").text_content()
    page.click("#again")
    expect(page.locator("#text")).not_to_have_text(first)
    status(page).to_contain_text("60 characters")
    assert text_of(page) != first
    write(page, seed=told.rpartition(" ")[2].strip("."))
    status(page).to_have_text(told)
    assert text_of(page) == first


def test_stop_keeps_what_has_come_and_another_can_begin(visit, page_models):
    page = visit()
    page.select_option("#model", "slow")
    write(page, length=5000)
    wait_for_new(page, 15)
    expect(page.locator("#write")).to_be_disabled()
    page.click("#stop")
    status(page).to_have_text("Stopped.")
    come = text_of(page)
    assert own_text(page_models["trained"], length=5000).startswith(come)
    assert len(come) < 3000
    page.click("#go-on")
    expect(page.locator("#text .c").nth(len(come) + 10)).to_be_attached()
    page.keyboard.press("Escape")
    status(page).to_have_text("Stopped.")
    assert text_of(page).startswith(come)


def test_two_users_at_once_have_their_own_texts(visit, page_models):
    pages = [visit(), visit()]
    for page, seed in zip(pages, ("1", "2"), strict=True):
        page.select_option("#model", "slow")
        write(page, seed=seed, length=200)
    for page in pages:
        expect(page.locator("#stop")).to_be_enabled()
    for page, seed in zip(pages, (1, 2), strict=True):
        status(page).to_have_text(f"200 characters, seed {seed}.")
        model = page_models["trained"]
        assert text_of(page) == own_text(model, length=200, seed=seed)


def test_a_reload_keeps_text_and_settings_and_ends_what_was_under_way(visit):
    page = visit()
    page.select_option("#model", "slow")
    write(page, length=5000, temperature=1.2)
    wait_for_new(page, 4)
    page.reload()
    expect(page.locator("#go-on")).to_be_enabled()
    assert text_of(page).startswith(BEGINNING)
    assert len(text_of(page)) > len(BEGINNING) + 3
    assert page.input_value("#model") == "slow"
    assert page.input_value("#temperature") == "1.2"
    assert page.input_value("#draft") == BEGINNING
    page.locator("#length").fill("20")
    page.click("#go-on")
    status(page).to_contain_text("20 characters")


def test_errors_are_told_in_the_servers_words(visit, serving):
    page = visit()
    error = expect(page.locator("#error"))
    write(page, seed="-1")
    error.to_contain_text("seed must be a whole number of at least 0")
    write(page, seed="abc")
    error.to_contain_text("seed must be")
    page.fill("#draft", "a" * 10_001)
    page.click("#colour")
    error.to_contain_text("prompt must have 10,000 characters at most")
    page.fill("#draft", "")
    page.click("#colour")
    error.to_contain_text("nothing to colour")
    write(page, "Sun!")
    status(page).to_contain_text("60 characters, seed 7. the model has never seen")
    status(page).to_contain_text("'!' (skipped)")
    error.to_have_text("")
    text = text_of(page)
    page.fill("#seed", "x")
    page.click("#go-on")
    error.to_contain_text("seed must be")
    assert text_of(page) == text


def test_a_server_that_stops_is_told_and_what_has_come_is_kept(visit, page_models):
    with running({"slow": page_models["slow"]}) as address:
        page = visit(address)
        write(page, length=5000)
        wait_for_new(page, 4)
    expect(page.locator("#error")).to_have_text("the server is stopping")
    assert text_of(page).startswith(BEGINNING)


def test_a_token_is_asked_for_and_kept_over_a_reload(visit, serving, page_models):
    address = serving({"trained": page_models["trained"]}, token="secret")
    page = visit(address, is_ready=False)
    expect(page.locator("#error")).to_contain_text("needs its token")
    expect(page.locator("#token")).to_be_focused()
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#token-form")).to_be_visible()
    page.fill("#token", "secret")
    page.keyboard.press("Enter")
    expect(page.locator("#write")).to_be_enabled()
    page.reload()
    expect(page.locator("#write")).to_be_enabled()
    write(page)
    status(page).to_have_text("60 characters, seed 7.")


def test_characters_have_the_models_surprise_and_its_likeliest(visit, page_models):
    page = visit()
    page.fill("#draft", BEGINNING)
    page.click("#colour")
    status(page).to_contain_text("nats per character")
    assert text_of(page) == BEGINNING
    model = page_models["trained"]
    ids = model.vocabulary.encode(BEGINNING).tolist()
    logits = model.rule(tuple(ids[:4]))  # for the fifth character, the first s
    chances = np.exp(logits) / np.exp(logits).sum()
    levels = page.locator("#text .c").evaluate_all(
        "spans => spans.map(span => span.style.getPropertyValue('--level'))"
    )
    assert levels[0] == ""
    assert float(levels[4]) == pytest.approx(-np.log(chances[ids[4]]) / 5, abs=0.006)
    page.locator("#text .c").nth(4).hover()
    expect(page.locator("#panel h2")).to_have_text("“s”")
    best = [model.vocabulary.symbols[i] for i in np.argsort(-chances)[:5]]
    named = [{" ": "space", "\n": "newline"}.get(x, x) for x in best]
    shown = page.locator("#panel .bars b").all_text_contents()
    assert shown == named + ["s"] * ("s" not in best)
    percents = page.locator("#panel .bars span").all_text_contents()
    assert percents[0] == f"{100 * chances.max():.1f} %"


def test_a_text_goes_on_from_one_of_the_likeliest(visit, page_models):
    page = visit()
    write(page)
    status(page).to_contain_text("60 characters")
    page.locator("#text .c").nth(12).click()
    page.mouse.move(0, 0)
    second = page.locator("#panel .bars button").nth(1)
    symbol = {"space": " ", "newline": "\n"}.get(name := second.inner_text(), name)
    before = text_of(page)[:12] + symbol
    second.click()
    status(page).to_contain_text("60 characters")
    assert text_of(page) == own_text(page_models["trained"], before)


def test_all_is_done_by_the_keyboard_alone(visit, page_models):
    page = visit()
    focused = "document.activeElement.id"

    def tab_to(name, most=30):
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate(focused) == name:
                return
        raise AssertionError(f"the Tab key never comes to {name}")

    tab_to("draft")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) != "none"
    page.keyboard.press("Control+A")  # the prompt to try
    page.keyboard.type(BEGINNING)
    tab_to("length")
    page.keyboard.press("Home")  # 20 characters
    tab_to("seed")
    page.keyboard.type("7")
    page.keyboard.press("Shift+Tab")
    tab_to("write")
    page.keyboard.press("Enter")
    status(page).to_have_text("20 characters, seed 7.")
    text = own_text(page_models["trained"], length=20)
    assert text_of(page) == text
    tab_to("text")
    assert page.evaluate(outline) != "none"
    page.keyboard.press("Home")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".here")).to_have_count(1)
    place = page.evaluate(
        "[...document.querySelectorAll('.c')].findIndex(x => x.matches('.here'))"
    )
    best = page.evaluate("reading.places[reading.pinned].top[2][0]")
    page.keyboard.press("3")
    status(page).to_contain_text("20 characters")
    assert text_of(page) == own_text(
        page_models["trained"], text[:place] + best, length=20
    )
    page.locator("#draft").focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#text")).to_have_text(re.compile("^" + re.escape(text[:15])))
    expect(page.locator("#undo")).to_be_enabled()
    for name in ("go-on", "again", "undo", "edit", "copy", "download", "text"):
        tab_to(name)


def test_a_poem_of_a_form_appears_line_by_line(visit):
    pytest.importorskip("pronouncing")
    page = visit()
    page.select_option("#model", "words")
    page.check("[value=form]")
    page.select_option("#form", "couplet")
    page.evaluate(
        "said = []; new MutationObserver(() => said.push($('status').textContent))"
        ".observe($('status'), {childList: true})"
    )
    write(page, "The sweet ", length=400)
    status(page).to_have_text("A couplet, seed 7.")
    said = page.evaluate("said")
    assert "Line 1 is found." in said
    assert "Line 2 is found." in said
    assert text_of(page) == poems.generate_form(
        words_model(), "couplet", "The sweet ", seed=7
    )
    assert page.locator("#text .c[style]").count() > 30


def test_modes_that_a_model_lacks_are_disabled_and_say_why(visit, monkeypatch):
    page = visit()
    expect(page.locator("[value=names]")).to_be_disabled()
    expect(page.locator("#names-reason")).to_contain_text("a model of lines")
    page.select_option("#model", "dinos")
    expect(page.locator("[value=names]")).to_be_checked()
    expect(page.locator("[value=form]")).to_be_disabled()
    expect(page.locator("#form-reason")).to_contain_text("running English text")
    monkeypatch.setattr("textgen.web.poems.is_installed", lambda name: False)
    page.reload()
    page.select_option("#model", "words")
    expect(page.locator("#form-reason")).to_contain_text("pip install")


def test_a_model_of_words_writes_names_without_their_surprise(
    visit, longer_address, longer_models
):
    page = visit(longer_address)
    page.select_option("#model", "words")
    write(page, "ab", length=20, seed="5")
    status(page).to_contain_text("16 names, seed 5.")
    rows = page.locator("#names tbody tr")
    first = own_text(longer_models["words"], "ab", length=20, seed=5)
    assert rows.locator("th").first.text_content() == first
    assert rows.locator("td:nth-child(2)").all_text_contents() == ["–"] * 16


def test_names_stand_in_a_table_and_repetitions_are_told(visit, page_models):
    page = visit()
    page.select_option("#model", "dinos")
    write(page, "tyr", seed="5")
    status(page).to_contain_text("16 names, seed 5.")
    rows = page.locator("#names tbody tr")
    names = rows.locator("th").all_text_contents()
    assert names[0] == own_text(page_models["dinos"], "tyr", length=400, seed=5)
    repeated = 16 - len(set(names))
    assert repeated > 0
    status(page).to_contain_text(f"Repetitions: {repeated} of 16.")
    rows.locator("button").first.click()
    assert text_of(page) == names[0]
    expect(page.locator("#panel h2")).to_have_text(f"“{names[0][0]}”")
    page.click("#go-on")
    expect(rows).to_have_count(32)
    status(page).to_contain_text("16 names")
    page.click("#undo")
    expect(rows).to_have_count(16)


def test_of_a_long_text_the_end_is_read_and_all_is_kept(visit, serving, page_models):
    address = serving({"trained": page_models["trained"]}, max_prompt=50)
    page = visit(address)
    beginning = "many words and " * 5
    write(page, beginning)
    status(page).to_have_text("60 characters, seed 7.")
    model = page_models["trained"]
    text = beginning[:-50] + own_text(model, beginning[-50:])
    assert text_of(page) == text
    page.click("#go-on")
    expect(page.locator("#text .c")).to_have_count(len(text) + 60)
    assert text_of(page) == text[:-50] + own_text(model, text[-50:])


def test_markup_that_a_model_writes_stays_text(visit):
    page = visit()
    page.select_option("#model", "hostile")
    write(page, "", length=140)
    status(page).to_contain_text("140 characters")
    assert text_of(page) == (HOSTILE * 3)[:140]
    assert page.title() == page.text_content("h1") == "Hostile"
    assert page.locator("#text > :not(span), #text script, #text img").count() == 0
    page.locator("#text .c").nth(3).click()
    assert page.locator("#panel img, #panel script").count() == 0


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_nothing_is_wider_than_the_window(visit, width):
    page = visit(viewport={"width": width, "height": 740})
    write(page, "a" * 300)
    status(page).to_contain_text("60 characters")
    page.select_option("#model", "dinos")
    write(page, "")
    status(page).to_contain_text("16 names")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_moves_where_that_is_not_wanted(visit):
    moving = "getComputedStyle($('text'), '::after').animationName"
    for wanted, name in (("reduce", "none"), ("no-preference", "blink")):
        page = visit(reduced_motion=wanted)
        page.select_option("#model", "slow")
        write(page, length=5000)
        expect(page.locator("#text")).to_have_attribute("aria-busy", "true")
        assert page.evaluate(moving) == name
        page.click("#stop")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, violations, scheme):
    page = visit(color_scheme=scheme)
    assert violations(page) == []
    write(page, seed="-1")
    expect(page.locator("#error")).not_to_have_text("")
    write(page, length=100, temperature=2)
    status(page).to_contain_text("100 characters")
    page.locator("#text .c").nth(12).click()
    assert violations(page) == []
    page.select_option("#model", "dinos")
    write(page, "", length=400)
    status(page).to_contain_text("16 names")
    assert violations(page) == []


def test_first_paint_and_bytes(visit, capsys):
    page = visit()
    first_paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    deadline_s = time.monotonic() + 10
    # A busy machine paints late. The page's policy forbids wait_for_function's `eval`.
    while (paint_ms := page.evaluate(first_paint)) is None:
        assert time.monotonic() < deadline_s
        page.wait_for_timeout(50)
    sizes = page.evaluate(
        "performance.getEntries().filter(each => each.transferSize)"
        ".filter(each => !each.name.endsWith('/v1/completions'))"  # the first text
        ".map(each => each.transferSize)"
    )
    with capsys.disabled():
        print(f"\nfirst paint {paint_ms:.0f} ms; {sum(sizes):,} bytes "
              f"in {len(sizes)} responses")  # fmt: skip
    assert sum(sizes) < 64_000
    assert paint_ms < 3_000
