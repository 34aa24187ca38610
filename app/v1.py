"""The plain door for programs: one request, one answer, nothing kept in between."""

# No postponed annotations here: FastAPI reads the types of the endpoints while the program runs.
import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import answers
from app.api import Answer, BeforeAndAfter, ExplainedAnswer, Model
from app.cage import decoded
from app.guard import Refused, path_of
from app.html import data_url, render
from app.lanes import Busy, NotNow
from app.models import ModelError, Models
from app.uploads import ArgumentError
from memorywrap.explanation.baselines import DEFAULT
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS
from memorywrap.images import ImageError

_log = logging.getLogger(__name__)

# Requests in work at once, whose pictures are computed together; and those that may wait beside them.
_AT_ONCE, _EXPLAINED_AT_ONCE, _WAITING = 64, 8, 300
_DOCS = "The request is not understood: please see /v1/docs for what to send."
_PARTS, _FIELD = 20, 1_000_000  # of a form, and bytes of one that is no file


class ExplainedWithMaps(ExplainedAnswer):
    """The object of /explain, with its pictures as data: addresses."""

    maps: list[dict[str, str]]


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                    "additionalProperties": {"type": "string"},
                    "description": "The arguments of the query may come as fields, too.",
                }
            },
        },
    }
}
_Crop = Annotated[str | None, Query(description="[left, top, right, bottom] in pixels, as JSON")]
_Edits = Annotated[
    str | None, Query(description="edits as JSON; the image of an add names a field")
]


class Doors:
    """ASGI middleware that answers `/v1`, `/healthz` and `/metrics`, and passes on all else.

    Args:
        app: what it stands before.
        models: what can be asked.
    """

    def __init__(self, app: Any, models: Models):
        self._app, self._own = app, make(models)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = path_of(scope) if scope["type"] == "http" else ""
        ours = path.startswith("/v1/") or path in ("/healthz", "/metrics")
        await (self._own if ours else self._app)(scope, receive, send)


def make(models: Models) -> FastAPI:
    """The endpoints, for the models of the page."""
    app = FastAPI(
        title="Memory Wrap",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    soon = _Threads(_AT_ONCE, "answers a request")
    later = _Threads(_EXPLAINED_AT_ONCE, "explains a request")

    @app.exception_handler(Refused)
    async def refused(_: Request, refusal: Refused) -> Response:
        return _refused(refusal.status, refusal.sentence)

    @app.exception_handler(RequestValidationError)
    async def not_understood(_: Request, __: RequestValidationError) -> Response:
        return _refused(400, _DOCS)

    @app.get("/v1/models", response_model=list[Model])
    async def list_models() -> Response:
        """The models: name, title, classes, size of the memory bank, and whether it can answer."""
        return _json(models.describe())

    @app.post("/v1/classify", response_model=Answer, openapi_extra=_BODY)
    async def classify(
        request: Request, model: str = models.default, crop: _Crop = None
    ) -> Response:
        """The class of an image, with the memory samples that the prediction used."""

        def work(asked: _Asked) -> Any:
            return answers.classified(
                models, asked.text("model", model), asked.image, asked.json("crop", crop)
            )

        return await soon.answer(request, work)

    @app.post("/v1/explain", response_model=ExplainedWithMaps, openapi_extra=_BODY)
    async def explain(
        request: Request,
        model: str = models.default,
        method: str = INTEGRATED_GRADIENTS,
        baseline: str = DEFAULT,
        steps: int | None = None,
        crop: _Crop = None,
    ) -> Response:
        """The same with its attribution maps, and the pieces that would change it."""

        def work(asked: _Asked) -> Any:
            told, parts = answers.explained(
                models,
                asked.text("model", model),
                asked.image,
                asked.text("method", method),
                asked.text("baseline", baseline),
                asked.json("steps", steps),
                asked.json("crop", crop),
            )
            return told | {
                "maps": [{"caption": part.caption, "image": data_url(part.map)} for part in parts]
            }

        return await later.answer(request, work)

    @app.post("/v1/whatif", response_model=BeforeAndAfter, openapi_extra=_BODY)
    async def whatif(
        request: Request, model: str = models.default, edits: _Edits = None, crop: _Crop = None
    ) -> Response:
        """What the model would say with another memory, beside what it says."""

        def work(asked: _Asked) -> Any:
            return answers.edited(
                models,
                asked.text("model", model),
                asked.image,
                asked.json("edits", edits),
                asked.json("crop", crop),
                asked.file,
            )

        return await soon.answer(request, work)

    @app.get("/v1/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(render("v1", spec=app.openapi()), media_type="text/html")

    @app.get("/healthz", include_in_schema=False)
    async def health() -> Response:
        ready = models.is_ready
        return Response(
            "ready\n" if ready else "not ready\n",
            status_code=200 if ready else 503,
            media_type="text/plain",
        )

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


class _Asked:
    """A request: files and fields by name, whatever way they came."""

    def __init__(self, files: dict[str, bytes], fields: dict[str, str]):
        self._files, self._fields = files, fields

    def forget(self) -> None:
        """Nobody waits for the answer."""
        self._files.clear()

    def image(self) -> Any:
        """The picture that is asked about."""
        return self.file("image")

    def file(self, name: Any) -> Any:
        """The picture in a file of the form."""
        data = self._files.get(name) if isinstance(name, str) else None
        if data is None:
            raise ImageError(
                "There is no image yet: please send its bytes, or a form with a file called image."
                if name == "image"
                else "What is added names no file of the form."
            )
        return decoded(data)

    def text(self, name: str, given: str) -> str:
        """An argument: a field of the form, or else what the query says."""
        return self._fields.get(name, given)

    def json(self, name: str, given: Any) -> Any:
        """An argument that is no text."""
        value = self._fields.get(name, given)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value.strip() else None
        except (ValueError, RecursionError):
            raise ArgumentError(f"The {name} is expected as JSON.") from None


class _Threads:
    """Some threads that answer requests: so many at once, and so many that wait for one."""

    def __init__(self, at_once: int, name: str):
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix=name)
        self._inside = 0
        self._most = at_once + _WAITING

    @property
    def _full(self) -> bool:
        return self._inside >= self._most

    async def answer(self, request: Request, work: Callable[[_Asked], Any]) -> Response:
        """What the work makes of a request. Whoever leaves frees his place."""
        if self._full:
            return _refused(503, str(Busy(10)), again=10)
        self._inside += 1
        try:
            return await self._done(request, work)
        except ArgumentError as error:
            return _refused(400, str(error))
        finally:
            self._inside -= 1

    async def _done(self, request: Request, work: Callable[[_Asked], Any]) -> Response:
        asked = await _read(request)
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._pool, partial(_answered, work, asked))
        gone = asyncio.ensure_future(_until_gone(request))
        try:
            both: set[asyncio.Future[Any]] = {done, gone}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                done.cancel()  # does nothing where it has begun
                asked.forget()  # the pool keeps what is cancelled until its turn comes
                return Response(status_code=499)
            return done.result()
        finally:
            gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read(request: Request) -> _Asked:
    """The files and fields of a request.

    Raises:
        ArgumentError: a form that is none.
    """
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return _Asked({"image": await request.body()}, {})
    files: dict[str, bytes] = {}
    fields: dict[str, str] = {}
    try:
        async with request.form(max_files=_PARTS, max_fields=_PARTS, max_part_size=_FIELD) as form:
            for name, value in form.multi_items():
                if isinstance(value, str):
                    fields[name] = value
                else:
                    files[name] = await value.read()
    except (Refused, OSError):  # too large, too slow, a full disk
        raise
    except Exception:
        raise ArgumentError(_DOCS) from None
    return _Asked(files, fields)


def _answered(work: Callable[[_Asked], Any], asked: _Asked) -> Response:
    try:
        return _json(work(asked))
    except Busy as error:
        return _refused(503, str(error), again=error.seconds)
    except NotNow as error:
        return _refused(503, str(error))
    except (ImageError, ModelError, ArgumentError) as error:
        return _refused(400, str(error))
    except ValueError:
        _log.exception("refused")
        return _refused(400, _DOCS)
    except Exception:
        _log.exception("failed")
        return _refused(500, "Something went wrong on the server: please try again.")


def _json(told: Any) -> Response:
    return Response(
        orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json"
    )


def _refused(status: int, sentence: str, *, again: int | None = None) -> Response:
    headers = {} if again is None else {"Retry-After": str(again)}
    return Response(
        orjson.dumps({"detail": sentence}), status, headers, media_type="application/json"
    )
