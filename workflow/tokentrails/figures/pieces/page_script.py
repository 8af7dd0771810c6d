"""The script of a page with a figure: Vega and what it needs, and the call that draws."""

from functools import cache

import altair as alt
import vl_convert

VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])

# `ast` makes Vega interpret its expressions, so that the page needs no eval and can forbid it.
_DRAW = """
const spec = JSON.parse(document.getElementById("spec").textContent);
const actions = {export: true, source: false, compiled: false, editor: false};
vegaEmbed("#figure", spec, {mode: "vega-lite", ast: true, renderer: "canvas", actions});
"""


@cache
def page_script(call: str = _DRAW) -> str:
    """Vega, Vega-Lite and vega-embed with a call, by default that which draws a page's figure."""
    return vl_convert.javascript_bundle(call, vl_version=VEGA_LITE)
