"""Models of a kind take one script from the page, whenever it comes; in a bare page, as a front end loads them."""

from __future__ import annotations

import pytest

from aries_nb.widgets.page_script import PageScript

# A script that notes that it was loaded, and whose models say which version they are of.
SCRIPT = """
globalThis.loaded = [...(globalThis.loaded ?? []), "%s"];
export default () => ({ initialize() {}, render: () => "%s" });
"""
# Load modules one after the other, as anywidget does: which scripts the models came to, and which were loaded. A front
# end that loads models when they are asked for has `lazy`, by its id.
LOAD = """async ([modules, lazy]) => {
  const url = (code) => URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const load = async (code) => (await import(url(code))).default;
  const manager = { get_model: async (id) => load(lazy[id]) };
  const model = { get: (name) => name === "script_model" && "IPY_MODEL_one", widget_manager: lazy && manager };
  const show = async (make) => {
    const widget = make();
    await widget.initialize({ model });
    return widget.render({ model });
  };
  const shown = [];
  for (const code of modules) {
    const made = await load(code);
    if (typeof made === "function") shown.push(show(made));
    await new Promise((done) => setTimeout(done));
  }
  return [await Promise.all(shown), globalThis.loaded];
}"""
ONE, OTHER = (PageScript(SCRIPT.replace("%s", name), "") for name in ("one", "other"))
MODEL, SCRIPT_MODEL, BOTH = ONE.stub, ONE._brought, ONE.whole


@pytest.fixture
def blank(browser):
    page = browser.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    assert page.errors == []
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
    assert blank.evaluate(LOAD, [modules, None]) == [["one", "one"], ["one"]]


def test_a_front_end_that_loads_models_when_they_are_asked_for_is_asked_for_the_script(blank):
    assert blank.evaluate(LOAD, [[MODEL, MODEL], {"one": SCRIPT_MODEL}]) == [["one", "one"], ["one"]]


def test_two_versions_in_a_page_do_not_meet(blank):
    modules = [OTHER.stub, MODEL, SCRIPT_MODEL, OTHER._brought]

    assert blank.evaluate(LOAD, [modules, None]) == [["other", "one"], ["one", "other"]]
