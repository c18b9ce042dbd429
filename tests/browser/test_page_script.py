"""Models of a kind take one script from the page, whenever it comes; in a bare page, as a front end loads them."""

from __future__ import annotations

import pytest

from aries_nb.widgets.page_script import PageScript

# A script that counts how often it was loaded, and whose models say which version they are of.
SCRIPT = """
globalThis.loaded = [...(globalThis.loaded ?? []), "%s"];
export default () => ({ version: "%s" });
"""
# Load modules one after the other, as anywidget does; what those that are models came to, in the order of the end.
LOAD = """async (modules) => {
  const made = [];
  const waiting = [];
  for (const code of modules) {
    const { default: make } = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    if (typeof make === "function") waiting.push(make().then(({ version }) => made.push(version)));
    await new Promise((done) => setTimeout(done));
  }
  await Promise.all(waiting);
  return [made, globalThis.loaded];
}"""
ONE, OTHER = (PageScript(SCRIPT.replace("%s", name), "") for name in ("one", "other"))
MODEL, SCRIPT_MODEL, BOTH = ONE.stub, ONE._brought, ONE.whole


@pytest.fixture
def blank(browser):
    page = browser.new_page()
    yield page
    page.close()


@pytest.mark.parametrize(
    "modules",
    [
        [SCRIPT_MODEL, MODEL, MODEL],
        [MODEL, MODEL, SCRIPT_MODEL],
        [MODEL, SCRIPT_MODEL, MODEL, SCRIPT_MODEL],
        [BOTH, BOTH],
    ],
    ids=["before", "after", "twice", "each its own"],
)
def test_models_get_the_script_once_whenever_it_comes(blank, modules):
    assert blank.evaluate(LOAD, modules) == [["one", "one"], ["one"]]


def test_two_versions_in_a_page_do_not_meet(blank):
    made, loaded = blank.evaluate(LOAD, [OTHER.stub, MODEL, SCRIPT_MODEL, OTHER._brought])

    assert sorted(made) == loaded == ["one", "other"]
