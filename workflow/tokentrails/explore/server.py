"""The server of the page, for this machine alone.

A page of another site may reach a server on loopback, under its own name by DNS rebinding too. So
requests must name this host, and carry in a header a token that only the printed address has; only
JSON is taken, which no form of another page can send unasked.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import secrets
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeGuard

import polars as pl
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import TokentrailsError
from ..figures.pieces.page_script import page_script
from ..figures.pieces.text_tokens import MATRICES
from ..figures.two_texts import Tables
from ..network.spread import Placement
from ..settings import Experiment
from ..texts.spans import find_words
from .chance import Chance
from .circuits import Circuits
from .keep import config_entry, experiment_file, path_of, replaced_name, text_file, write
from .look import FORMS, Look
from .models import Models, Recent
from .sheets import csv
from .two_texts import Chosen, Pair, is_one_token, measured, named, pooling, side_by_side
from .view import MOST_SHOWN, NEAREST, View, nearest_lists

HOST = "127.0.0.1"
HEADER = "x-tokentrails-token"
MOST_BYTES = 64 << 10
"""Bytes of a request."""
MOST_CHARACTERS = 4000
"""Characters of a text."""
MOST_REQUESTS = 8
"""Requests that wait or are answered at a time; one is computed at a time."""
SPECIAL_TOKENS = ("default", "bos", "none")
WANTED = ("form", "bands", "control")

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.panels.js": ("page.panels.js", "text/javascript"),
}

_EMBED = "window.vegaEmbed = vegaEmbed;"

Texts = Mapping[str, tuple[str, Sequence[tuple[str, str, str, int]]]]
"""By experiment, its special tokens, and of its prompts label, text, target and which one is meant.

The target is empty where every token is one.
"""


class Refused(TokentrailsError):
    """A request that is not answered."""

    def __init__(self, status: int, problem: str, *, hint: str) -> None:
        super().__init__(problem, hint=hint)
        self.status = status


class Explorer:
    """What is computed for requests."""

    def __init__(
        self,
        models: Models,
        texts: Texts,
        baseline: Experiment | None = None,
        controls: Mapping[str, str] | None = None,
    ) -> None:
        """`baseline` has the texts of chance.

        `controls` are models with random weights, by the one whose architecture they have.
        """
        self.models, self.texts, self.baseline = models, texts, baseline
        self.controls = {
            model: control
            for model, control in (controls or {}).items()
            if control in models.folders
        }
        self._circuits: Recent[View, Circuits] = Recent(1)

    def answer(self, name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What the method `name` answers; each figure with its CSV."""
        found: dict[str, Any] = getattr(self, name)(asked)
        about = {key: asked[key] for key in ("model", "checkpoint", "text") if key in asked}
        for figure in found.get("figures", ()):
            read = self._view(asked).loaded.readable
            figure["csv"] = csv(figure.pop("table"), about, read)
        return found

    def choices(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Models with their checkpoints, and texts of experiments with the end of their target."""
        models = [
            {"name": name, "checkpoints": list(folders)}
            for name, folders in self.models.folders.items()
        ]
        texts = [
            {
                "experiment": name,
                "special_tokens": special_tokens,
                "prompts": [(label, text, _end(text, word, n)) for label, text, word, n in prompts],
            }
            for name, (special_tokens, prompts) in self.texts.items()
            if prompts
        ]
        return {"models": models, "texts": texts, "most_shown": MOST_SHOWN}

    def tokens(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The tokens of a text, and what can be asked of them."""
        view = self._view(asked)
        return {
            "tokens": view.token_list(),
            "sites": view.loaded.sites,
            "matrices": list(view.loaded.matrices),
            "tied": view.loaded.is_tied,
            "forms": FORMS if self.baseline else FORMS[:1],
            "positional": view.loaded.has_positions,
            "as_published": view.loaded.has_published,
            "control": self.controls.get(_text(asked, "model")),
        }

    def nearest(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The nearest entries of some tokens at each layer."""
        view = self._view(asked)
        positions, look = _places(asked, view), _look(asked, view)
        ranks = view.ranks(positions, look, self._known_chance(view, look))
        return {"tokens": nearest_lists(ranks, view.loaded.readable)}

    def figures(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Specifications of the figures across layers.

        With `chance` they have its bands as far as they are computed, with `random` the control.
        """
        view = self._view(asked)
        positions, look = _places(asked, view), _look(asked, view)
        bands = self._chance(view).bands(look) if self._has_bands(asked) else None
        control = self._control(asked, look) if asked.get("random") is True else None
        chance = self._known_chance(view, look)
        return {"figures": view.figures(positions, look, chance, bands, control)}

    def chance(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Compute a piece of what tokens are compared with; what it was, or null for none.

        `wanted` is what is needed: what the form is made with, bands of chance, or the control.
        """
        view = self._view(asked)
        look, wanted = _look(asked, view), _choice(asked, "wanted", WANTED)
        if wanted == "control":
            found = self._control_view(asked)
            if found is None or look.form == "cosine":
                return {"doing": None}
            view = found
        if self.baseline is None:
            return {"doing": None}
        chance = self._chance(view)
        more = chance.piece(look, bands=wanted == "bands")
        named = f"{view.name}, " if wanted == "control" else ""
        return {"doing": f"{named}{chance.doing}" if more else None}

    def control(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The text with a control word in the place of a token's word, and that one's position."""
        view = self._view(asked)
        chosen = Chosen(view, _position(asked, "position", view))
        text, position = chosen.replaced(_text(asked, "control"), asked["special_tokens"])
        return {"text": text, "position": position}

    def two_texts(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The figure of a token in each of two texts; with a control, of that in both too.

        `chance` and `random` are as in `figures`.
        """
        pair = self._pair(asked)
        view = pair[0].view
        look = Look(_choice(asked, "site", view.loaded.sites), "embedding", _form(asked))
        pairs = {named(pair): pair}
        if control := _text(asked, "control"):
            one, other = (
                self._chosen({**asked, "text": text, "position": position}, "text", "position")
                for chosen in pair
                for text, position in [chosen.replaced(control, asked["special_tokens"])]
            )
            pairs[f"{control} (control)"] = (one, other)
        chance = self._known_chance(view, look)
        bands = self._chance(view).pair_bands(look) if self._has_bands(asked) else None
        of_control = self._pairs_of_control(asked, pairs, look)
        figure = side_by_side(pairs, look, chance, bands, of_control)
        return {"figures": [{"name": "two_texts", **figure}]}

    def _pairs_of_control(
        self, asked: Mapping[str, Any], pairs: Mapping[str, Pair], look: Look
    ) -> Tables | None:
        """What is measured of the same pairs in the control, where that is asked for."""

        def of_control(chosen: Chosen) -> Chosen:
            view = self._control_view({**asked, "text": chosen.text})
            assert view is not None
            return Chosen(view, chosen.position)

        if asked.get("random") is not True or _text(asked, "model") not in self.controls:
            return None
        found = {name: (of_control(one), of_control(other)) for name, (one, other) in pairs.items()}
        (first, _), *_ = found.values()
        return measured(found, look, self._known_chance(first.view, look))

    def heads(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The figure of a token's attention, in general or to another token."""
        circuits, position = self._inside(asked)
        key = None
        if asked.get("key") is not None:
            key = _number(asked, "key", len(circuits.text.tokens))
        return {"figures": [{"name": "heads", **circuits.heads(position, key)}]}

    def head(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """A head at a token in words, and the strongest neurons of its block."""
        circuits, position = self._inside(asked)
        blocks = circuits.parts.blocks
        layer = _number(asked, "layer", len(blocks))
        head = _number(asked, "head", len(blocks[layer].heads.W_Q))
        neurons = circuits.neurons(position, layer) if circuits.has_neurons else None
        listed = circuits.view.loaded.listed
        return {**circuits.head(position, layer, head), "neurons": neurons, "listed": listed}

    def attribution(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The figure of what moves a token's identity, and the parts that do so most."""
        circuits, position = self._inside(asked)
        figure, parts = circuits.attribution(position)
        return {"figures": [{"name": "attribution", **figure}], "parts": parts}

    def evolution(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The figure of words by token and layer."""
        circuits, _ = self._inside(asked)
        return {"figures": [{"name": "evolution", **circuits.evolution()}]}

    def evolved(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The words of a cell of that figure."""
        circuits, position = self._inside(asked)
        layer = _number(asked, "layer", circuits.view.depth + 1)
        lists = circuits.evolved(position, layer)
        return {"lists": lists, "listed": circuits.view.loaded.listed}

    def _inside(self, asked: Mapping[str, Any]) -> tuple[Circuits, int]:
        view = self._view(asked)
        position = _position(asked, "position", view)
        return self._circuits.get(view, lambda: Circuits(view)), position

    def _pair(self, asked: Mapping[str, Any]) -> Pair:
        return self._chosen(asked, "text", "position"), self._chosen(asked, "other", "place")

    def _chosen(self, asked: Mapping[str, Any], text: str, position: str) -> Chosen:
        """A token of a text, by the keys of both."""
        view = self._view({**asked, "text": asked.get(text)})
        return Chosen(view, _position(asked, position, view))

    def ahead(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Compute a piece of what is likely asked for next; whether there was one."""
        view = self._view(asked)
        look = _look(asked, view)
        return {"more": view.ahead(look, self._known_chance(view, look))}

    def experiment(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The experiment file; written only where that is asked for."""
        view, name = self._view(asked), _text(asked, "name")
        special_tokens, names = asked["special_tokens"], [name]
        about = (name, view.name, special_tokens, view.loaded.sites)
        several = len(self.models.folders[view.name]) > 1
        checkpoints: dict[str, Any] = {"checkpoints": [asked["checkpoint"]]} if several else {}
        if asked.get("pair") is True:
            pair = self._pair(asked)
            prompts = [
                chosen.prompt(special_tokens, f"{name}_{number}")
                for number, chosen in enumerate(pair, 1)
            ]
            alike = is_one_token(pair, special_tokens)
            analyses = ["identity", *(["context"] if alike else [])]
            content = experiment_file(name, analyses, prompts)
            control = _text(asked, "control") or None
            names += [replaced_name(name)] if control else []
            entry = config_entry(
                *about, control, **checkpoints, pooling=pooling(pair, special_tokens)
            )
        else:
            opened = given if isinstance(given := asked.get("opened"), list) else ()
            lacks = () if Circuits(view).has_neurons else ("neurons",)
            content = text_file(name, _text(asked, "text"), opened, lacks)
            ranks = {"sites": view.loaded.sites, "nearest": NEAREST}
            entry = config_entry(*about, **checkpoints, ranks=ranks)
        path = path_of(name)
        known = {label.partition(" ")[0] for label in self.texts}  # which may say more
        taken = [
            *(f"the configuration has an experiment {n!r}" for n in names if n in known),
            *(["the file is there already"] if path.exists() else []),
        ]
        written = asked.get("write") is True and str(write(name, content))
        found = {"content": content, "entry": entry, "path": str(path), "taken": taken}
        return found | {"written": written}

    def _view(self, asked: Mapping[str, Any]) -> View:
        model, checkpoint = _text(asked, "model"), _text(asked, "checkpoint")
        text = _text(asked, "text")
        special_tokens = _choice(asked, "special_tokens", SPECIAL_TOKENS)
        refuse_text(text)
        loaded = self.models.get(model, checkpoint)
        view: View = loaded.views.get(
            (text, special_tokens), lambda: View.of(loaded, model, text, special_tokens)
        )
        return view

    def _has_bands(self, asked: Mapping[str, Any]) -> bool:
        return asked.get("chance") is True and self.baseline is not None

    def _chance(self, view: View) -> Chance:
        assert self.baseline is not None
        about = view.loaded, view.name, self.baseline
        found: Chance = view.loaded.chance.get(view.name, lambda: Chance(*about))
        return found

    def _known_chance(self, view: View, look: Look) -> Chance | None:
        """Chance as far as the form needs it, where it does."""
        if look.form == "cosine":
            return None
        if self.baseline is None:
            raise Refused(400, "there is no baseline", hint="the configuration switches it off.")
        chance = self._chance(view)
        while chance.piece(look, bands=False):
            pass
        return chance

    def _control_view(self, asked: Mapping[str, Any]) -> View | None:
        """The same text in the same model with random weights, if there is one."""
        model = self.controls.get(_text(asked, "model"))
        if model is None:
            return None
        (first, *_) = self.models.folders[model]
        return self._view({**asked, "model": model, "checkpoint": first})

    def _control(self, asked: Mapping[str, Any], look: Look) -> dict[str, pl.DataFrame]:
        """What is measured of the control's view; nothing without one."""
        view = self._control_view(asked)
        if view is None:
            return {}
        chance = self._known_chance(view, look)
        return view.measured(_places(asked, view), replace(look, as_published=False), chance)


def _end(text: str, target: str, occurrence: int) -> int | None:
    """Where a target ends in a text, in characters; None for an empty one."""
    places = find_words(text, target) if target.strip() else []
    return places[occurrence - 1][1] if len(places) >= occurrence else None


def refuse_text(text: str) -> None:
    """Raise for a text that no model can be given."""
    if not text.strip():
        raise TokentrailsError("there is no text", hint="type one, or take one of an experiment.")
    if len(text) > MOST_CHARACTERS:
        raise TokentrailsError(
            f"the text has {len(text)} characters, more than {MOST_CHARACTERS}",
            hint="shorten it; an experiment of the workflow takes longer ones.",
        )
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise TokentrailsError(
            "the text has half a character (a lone surrogate)", hint="type it again there."
        )
    if "\0" in text:
        raise TokentrailsError("the text has a NUL character", hint="remove it.")


def _text(asked: Mapping[str, Any], key: str) -> str:
    if not isinstance(value := asked.get(key), str):
        raise Refused(400, f"{key} is not a text", hint="reload the page.")
    return value


def _choice(asked: Mapping[str, Any], key: str, choices: Sequence[str]) -> str:
    if (value := _text(asked, key)) not in choices:
        raise Refused(400, f"{key} is {value!r}", hint=f"choose from {', '.join(choices)}.")
    return value


def _look(asked: Mapping[str, Any], view: View) -> Look:
    """How states are to be looked at, as far as a view can be."""
    matrix = _choice(asked, "matrix", list(MATRICES))
    if matrix not in view.loaded.matrices:
        raise TokentrailsError(
            "the weights have no unembedding", hint="compare with the input embedding."
        )
    form = _form(asked)
    # As in the workflow's tables, in which no corrected form has either.
    options = ("positional", "as_published") if form == "cosine" else ()
    further = {name: asked.get(name) is True for name in options}
    return Look(_choice(asked, "site", view.loaded.sites), matrix, form, **further)


def _form(asked: Mapping[str, Any]) -> str:
    return _choice({"form": "cosine", **asked}, "form", FORMS)


def _places(asked: Mapping[str, Any], view: View) -> list[int]:
    """Positions that a view has."""
    positions = asked.get("positions")
    n = len(view.ids)
    if not isinstance(positions, list) or not all(_is_position(each, n) for each in positions):
        raise Refused(400, f"positions are not numbers from 0 to {n - 1}", hint="reload the page.")
    chosen = sorted(set(positions))
    if not 1 <= len(chosen) <= MOST_SHOWN:
        raise TokentrailsError(
            f"{len(chosen)} tokens are chosen", hint=f"choose from 1 to {MOST_SHOWN}."
        )
    return chosen


def _position(asked: Mapping[str, Any], key: str, view: View) -> int:
    return _number(asked, key, len(view.ids))


def _number(asked: Mapping[str, Any], key: str, n: int) -> int:
    number = asked.get(key)
    if not _is_position(number, n):
        raise Refused(400, f"{key} is not a number from 0 to {n - 1}", hint="reload the page.")
    return number


def _is_position(value: object, n: int) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < n


def application(explorer: Explorer, token: str, hosts: Sequence[str]) -> Any:
    """The whole application, as ASGI has it.

    Parameters
    ----------
    token: that requests must carry.
    hosts: names and ports that they may call this server by.
    """
    one_at_a_time = asyncio.Lock()
    under_way = 0

    def answer(compute: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Any:
        async def endpoint(request: Request) -> Response:
            nonlocal under_way
            _refuse_stranger(request, token)
            if under_way >= MOST_REQUESTS:
                raise Refused(503, "too many requests at a time", hint="wait for the others.")
            under_way += 1
            try:
                asked = await _json(request)
                async with one_at_a_time:
                    found = await run_in_threadpool(compute, asked)
            except asyncio.CancelledError:  # by Ctrl-C, a second later
                raise Refused(503, "the explorer has ended", hint="start it again.") from None
            finally:
                under_way -= 1
            return JSONResponse(found)

        return endpoint

    def page(name: str, kind: str) -> Any:
        content = Path(__file__).with_name(name).read_bytes()

        async def endpoint(request: Request) -> Response:
            return Response(content, media_type=kind)

        return endpoint

    vega_script = cache(partial(page_script, _EMBED))

    async def vega(request: Request) -> Response:
        script = await run_in_threadpool(vega_script)
        return Response(script, media_type="text/javascript")

    calls = [
        *("choices", "tokens", "nearest", "figures", "chance", "ahead", "control", "two_texts"),
        *("heads", "head", "attribution", "evolution", "evolved", "experiment"),
    ]
    app = Starlette(
        routes=[
            *(Route(path, page(*file), methods=["GET"]) for path, file in FILES.items()),
            Route("/vega.js", vega, methods=["GET"]),
            *(
                Route(f"/{name}", answer(partial(explorer.answer, name)), methods=["POST"])
                for name in calls
            ),
        ],
        exception_handlers={
            TokentrailsError: _say,
            HTTPException: _say_status,
            Exception: _say_unexpected,
        },
    )
    return _Guard(app, hosts)


class _Guard:
    """Refuses other hosts before anything is looked at, and sets the headers of every answer."""

    def __init__(self, app: Any, hosts: Sequence[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [
                    (name.lower().encode(), value.encode()) for name, value in HEADERS.items()
                ]
            await send(message)

        app = self.app
        named = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(named) != 1 or named[0] not in self.hosts:
            app = _message(400, "this server is called by another name", "use the printed address.")
        await app(scope, receive, send_with_headers)


def _refuse_stranger(request: Request, token: str) -> None:
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{request.headers['host']}":
        raise Refused(403, "the request comes from another page", hint="use the printed address.")
    given = request.headers.get(HEADER, "").encode()
    if not secrets.compare_digest(given, token.encode()):
        raise Refused(
            403,
            "the token of the address is missing, or that of an earlier run",
            hint="open the address that this run has printed.",
        )


async def _json(request: Request) -> dict[str, Any]:
    """The body, a JSON object of a few bytes."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "the request is not JSON", hint="reload the page.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise Refused(
                413, f"the request has more than {MOST_BYTES >> 10} KiB", hint="shorten the text."
            )
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise Refused(400, "the request is no JSON object", hint="reload the page.")
    return asked


def _message(status: int, problem: str, hint: str) -> JSONResponse:
    return JSONResponse({"problem": problem, "hint": hint}, status_code=status)


async def _say(request: Request, error: Exception) -> Response:
    assert isinstance(error, TokentrailsError)
    status = error.status if isinstance(error, Refused) else 422
    where = f"{error.where}: " if error.where is not None else ""
    return _message(status, where + error.problem, error.hint)


async def _say_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    hint = "ask with POST." if error.status_code == 405 else "use the printed address."
    return _message(error.status_code, error.detail, hint)


async def _say_unexpected(request: Request, error: Exception) -> Response:
    logging.error("".join(traceback.format_exception(error)))
    problem = f"{type(error).__name__}: this is unexpected"
    return _message(500, problem, "the traceback is in the log of the explorer.")


def listen(port: int) -> socket.socket:
    """A socket of this machine alone; port 0 is any free one.

    Raises
    ------
    TokentrailsError: if the port is in use, or not allowed.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        used = error.errno == errno.EADDRINUSE
        raise TokentrailsError(
            f"port {port} is in use" if used else f"port {port}: {error.strerror}",
            where="explore.port",
            hint="name another one in the configuration; 0 is any free one: explore: {port: 0}.",
        ) from error
    return listener


def serve(
    folders: Mapping[str, Mapping[str, Path]],
    texts: Texts,
    place: Placement,
    port: int,
    baseline: Experiment | None,
    controls: Mapping[str, str],
) -> None:
    """Answer until Ctrl-C; the arguments are those of `Models` and `Explorer`.

    Raises
    ------
    TokentrailsError: if there is no model, or as `listen` does.
    """
    if not folders:
        raise TokentrailsError(
            "there is no model whose weights are kept and that an experiment uses",
            where="models",
            hint="name one in an experiment, and leave 'keep_weights: false' out.",
        )
    with listen(port) as listener:
        token = secrets.token_urlsafe(16)
        port = listener.getsockname()[1]
        app = application(
            Explorer(Models(folders, place), texts, baseline, controls),
            token,
            [f"{host}:{port}" for host in (HOST, "localhost")],
        )
        print(f"\nThe explorer: http://{HOST}:{port}/#token={token}\nCtrl-C ends it.\n", flush=True)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        with suppress(KeyboardInterrupt):  # which uvicorn raises again when it has ended
            uvicorn.Server(config).run(sockets=[listener])
