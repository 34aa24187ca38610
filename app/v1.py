"""The plain door for programs: one request, one answer, nothing kept in between."""

# No postponed annotations here: FastAPI reads the types of the endpoints while the program runs.
import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import answers
from app.api import Answer, BeforeAndAfter, ExplainedAnswer, Model, Sample
from app.bodies import Refused
from app.cage import decoded
from app.guard import failure
from app.html import data_url, encoded, render
from app.lanes import Busy, NotNow
from app.models import Models
from app.shelf import ModelError
from app.threads import Threads
from app.uploads import ArgumentError
from memorywrap.explanation.baselines import DEFAULT
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS
from memorywrap.images import ImageError

_log = logging.getLogger(__name__)

_DOCS = "The request is not understood: please see /v1/docs for what to send."
_PARTS, _FIELD = 20, 1_000_000  # of a form, and bytes of one that is no file


class ExplainedWithMaps(ExplainedAnswer):
    """The object of /explain, with its pictures as data: addresses."""

    maps: list[dict[str, str]]


# A memory that is drawn anew at the next start has other pictures.
_KEPT = {"cache-control": "private, max-age=600"}

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


def make(models: Models, soon: Threads, later: Threads) -> FastAPI:
    """The endpoints.

    Args:
        models: what can be asked.
        soon: answers what is quick.
        later: answers what takes longer.
    """
    app = FastAPI(
        title="Memory Wrap",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )

    @app.exception_handler(Refused)
    async def refused(_: Request, refusal: Refused) -> Response:
        return _refused(refusal.status, refusal.sentence)

    @app.exception_handler(OSError)
    async def failed(_: Request, error: OSError) -> Response:  # a form that is being written down
        _log.warning("a request failed: %s", error.strerror)
        told = failure(error)
        return _refused(told.status, told.sentence)

    @app.exception_handler(RequestValidationError)
    async def not_understood(_: Request, __: RequestValidationError) -> Response:
        return _refused(400, _DOCS)

    @app.get("/v1/models", response_model=list[Model])
    async def list_models() -> Response:
        """The models: name, title, classes, size of the memory bank, and whether it can answer."""
        return _json(models.describe())

    @app.get("/v1/memory", response_model=list[Sample])
    async def list_memory(request: Request, model: str = models.default) -> Response:
        """The memory of a model: index, label and predicted class of each sample."""
        return await _answer(soon, request, lambda _: answers.memory(models, model))

    @app.get("/v1/memory/{index}", responses={200: {"content": {"image/png": {}}}})
    async def show_memory(request: Request, index: int, model: str = models.default) -> Response:
        """The picture of a memory sample."""

        def work(_: _Asked) -> Response:
            file = encoded(answers.memory_picture(models, model, index))
            return Response(file, headers=_KEPT, media_type="image/png")

        return await _answer(soon, request, work)

    @app.post("/v1/classify", response_model=Answer, openapi_extra=_BODY)
    async def classify(
        request: Request, model: str = models.default, crop: _Crop = None
    ) -> Response:
        """The class of an image, with the memory samples that the prediction used."""

        def work(asked: _Asked) -> Any:
            return answers.classified(
                models, asked.text("model", model), asked.image, asked.json("crop", crop)
            )

        return await _answer(soon, request, work)

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

        return await _answer(later, request, work)

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

        return await _answer(soon, request, work)

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


async def _answer(threads: Threads, request: Request, work: Callable[[_Asked], Any]) -> Response:
    """What the work makes of a request. Whoever leaves frees his place."""
    try:
        with threads.place():
            asked = await _read(request)
            done = threads.begin(partial(_answered, work, asked))
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
    except Busy as error:
        return _refused(503, str(error), again=error.seconds)
    except ArgumentError as error:
        return _refused(400, str(error))


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
        told = work(asked)
        return told if isinstance(told, Response) else _json(told)
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
