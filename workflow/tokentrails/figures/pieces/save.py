"""Write a chart as .html, .svg, .png, .pdf or .json: offline, safe, the same bytes every time."""

import json
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from altair.utils import schemapi

from ...files.atomic import replacing
from ...files.pages import embedded, html_page
from .page_script import VEGA_LITE, page_script
from .pdf import canonical
from .text import visible

_PNG_SCALE = 2.0
_EMPTY = re.compile(r'<path class="(?:background|foreground)"[^<>]* d="(?:M0,0h0v0h0Z)?"[^<>]*/>')
"""What Vega draws behind and before each group, if it is nothing: a tenth of a file."""

# Every machine has other fonts, and other versions of one font. vl-convert looks for them when it
# draws first; with this it finds none, and takes those that it carries itself.
os.environ["FONTCONFIG_FILE"] = str(Path(__file__).with_suffix(".conf"))

_STYLE = "body { margin: 1rem; background: white; overflow-x: auto; }"


def save(
    chart: alt.TopLevelMixin, paths: Iterable[str | Path], script: str | Path | None = None
) -> None:
    """Write `chart` to every path, in the format of its suffix; each file appears whole.

    Parameters
    ----------
    script: a file with the `page_script`; it is made anew where none is given.
    """
    spec = specification(chart)
    for path in map(Path, paths):
        content = render(spec, path.suffix, script)
        with replacing(path) as temporary:
            Path(temporary).write_bytes(content)


def specification(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The Vega-Lite specification of `chart`, of any size, with its data inside.

    Altair counts unnamed views through a process, so the same chart built twice would differ; here
    views and parameters are numbered from 1 in order of appearance. Data is not touched.
    """
    with alt.data_transformers.enable("default", max_rows=None):
        spec = chart.to_dict(validate=schemapi.DEBUG_MODE)
    datasets = spec.pop("datasets", {})
    declared = sorted(set(re.findall(r'"name": "((?:view|param)_[0-9a-f]+)"', json.dumps(spec))))
    names: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        kind = match[0].rpartition("_")[0]
        same = sum(new.startswith(kind) for new in names.values())
        return names.setdefault(match[0], f"{kind}_{same + 1}")

    if declared:
        spec = json.loads(re.sub(rf"\b(?:{'|'.join(declared)})\b", rename, json.dumps(spec)))
    return _without_controls(spec | ({"datasets": datasets} if datasets else {}))


def _without_controls(node: Any) -> Any:
    """`node` with escapes in place of invisible characters, of which SVG allows only some."""
    if isinstance(node, dict):
        return {key: _without_controls(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_controls(value) for value in node]
    return visible(node) if isinstance(node, str) and not node.isprintable() else node


def render(spec: dict[str, Any], suffix: str, script: str | Path | None = None) -> bytes:
    """The bytes of a Vega-Lite specification in the format that `suffix` names."""
    match suffix:
        case ".json":
            text = json.dumps(spec, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
            return (text + "\n").encode()
        case ".html":
            # Bytes, since reading as text would change the ends of lines.
            made = page_script() if script is None else Path(script).read_bytes().decode()
            body = f'<main id="figure"></main>\n{embedded("spec", spec)}'
            # vega-embed adds styles of its own, and shows images that it has drawn.
            allow = {"style-src": "'unsafe-inline'", "img-src": "data: blob:"}
            return html_page(_title(spec), body, style=_STYLE, script=made, allow=allow).encode()
        case ".svg":
            return _svg(_still(spec)).encode()
        case ".png":
            return vl_convert.svg_to_png(_svg(_still(spec)), scale=_PNG_SCALE)
        case ".pdf":
            return canonical(vl_convert.svg_to_pdf(_svg(_still(spec))))
    raise ValueError(f"no figure format {suffix!r}.\nHint: use .html, .svg, .png, .pdf or .json.")


@lru_cache(maxsize=1)
def _svg(spec: str) -> str:
    """A specification, as JSON, drawn by Vega; kept for the formats that are made of it.

    No base URL is allowed: a figure holds its data and never fetches any.
    """
    exact = json.loads(spec)  # vl-convert itself reads numbers of a text only nearly as they are
    svg = vl_convert.vegalite_to_svg(exact, vl_version=VEGA_LITE, allowed_base_urls=[])
    return _EMPTY.sub("", svg)


def _still(spec: dict[str, Any]) -> str:
    """JSON of a specification that is drawn without tooltips.

    Its axes and legends say what they are, for those who do not see them; its marks do not, which
    would be half of the file. Those of the interactive page do.
    """
    still = _without_tooltips(spec)
    config = still.get("config", {})
    mark = config.get("mark", {}) | {"aria": False}
    return json.dumps(still | {"config": config | {"mark": mark}})


def _without_tooltips(node: Any) -> Any:
    """`node` without its invisible layers: they only carry tooltips, yet would fill the file."""
    if isinstance(node, list):
        return [_without_tooltips(child) for child in node if not _is_invisible(child)]
    if isinstance(node, dict):
        return {key: v if key == "datasets" else _without_tooltips(v) for key, v in node.items()}
    return node


def _is_invisible(node: Any) -> bool:
    mark = node.get("mark") if isinstance(node, dict) else None
    return isinstance(mark, dict) and mark.get("opacity") == 0


def _title(spec: dict[str, Any]) -> str:
    title = spec.get("title", "figure")
    text = title.get("text", "figure") if isinstance(title, dict) else title
    return " ".join(text) if isinstance(text, list) else text
