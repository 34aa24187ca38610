"""What /v1 answers, as tools of the Model Context Protocol: an assistant finds and asks them itself."""

# No postponed annotations here: the protocol's library reads the types of the tools.
import base64
import binascii
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

import orjson
from mcp.server.mcpserver import Image as SentImage
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from PIL import Image
from pydantic import Field

from app import answers
from app.api import Answer, Baseline, BeforeAndAfter, Method, Model
from app.cage import decoded
from app.html import encoded
from app.models import Models
from app.threads import Threads
from app.uploads import REFUSALS
from memorywrap.explanation.baselines import DEFAULT
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS
from memorywrap.images import MAX_BYTES, ImageError

_log = logging.getLogger(__name__)

PATH = "/mcp"
_HELP = (
    "Image classifiers that show their evidence: each answer rests on a small memory of training images, "
    "and says which of them it used, with what weight, and what would change it."
)
_WRONG = "Something went wrong on the server: please try again."

_Image = Annotated[
    str, Field(description="the bytes of an image file in base64, or a data: address of them")
]
_Crop = Annotated[
    list[int] | None,
    Field(description="[left, top, right, bottom] in pixels of the upright image; null to suggest"),
]


class Door:
    """An ASGI app that speaks the protocol. It keeps nothing between two requests.

    Args:
        models: what can be asked.
        soon: answers what is quick.
        later: answers what takes longer.
    """

    def __init__(self, models: Models, soon: Threads, later: Threads):
        server = _server(models, soon, later)
        server.streamable_http_app(
            stateless_http=True,
            json_response=True,
            max_request_body_size=2 * MAX_BYTES,  # the guard has counted
            # Other sites are refused by the guard; by which names the page is reached nobody knows.
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        self._manager = server.session_manager

    def opened(self) -> AbstractAsyncContextManager[None]:
        """While the page is up; once."""
        return self._manager.run()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._manager.handle_request(scope, receive, send)


def _server(models: Models, soon: Threads, later: Threads) -> MCPServer:
    server = MCPServer("Memory Wrap", instructions=_HELP, log_level="WARNING", subscriptions=False)

    @server.tool(structured_output=True)
    def list_models() -> list[Model]:
        """The models: name, title, classes, size of the memory bank, and whether it can answer."""
        return models.describe()  # type: ignore[return-value]

    @server.tool(structured_output=True)
    async def classify(image: _Image, model: str = models.default, crop: _Crop = None) -> Answer:
        """The class of an image, with the memory samples that the prediction used."""
        return await _done(
            soon, lambda: answers.classified(models, model, lambda: _read(image), crop)
        )

    @server.tool(structured_output=False)
    async def explain(
        image: _Image,
        model: str = models.default,
        method: Method = INTEGRATED_GRADIENTS,
        baseline: Baseline = DEFAULT,
        steps: int | None = None,
        crop: _Crop = None,
    ) -> list[Any]:
        """The same with its attribution maps, and the pieces that would change the answer: the numbers as
        JSON, then each map as an image behind its caption. Blue supports the answer, orange opposes it."""
        told, parts = await _done(
            later,
            lambda: answers.explained(
                models, model, lambda: _read(image), method, baseline, steps, crop
            ),
        )
        content: list[Any] = [orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY).decode()]
        for part in parts:
            content += [part.caption, SentImage(data=encoded(part.map), format="png")]
        return content

    @server.tool(structured_output=True)
    async def whatif(
        image: _Image,
        edits: Annotated[
            list[dict[str, Any]],
            Field(
                description="applied in order, each an object with one of: remove or restore (index of a "
                "memory sample), only_class or no_class (a class), redraw (a seed), or add ({image: as "
                "above, label: a class})"
            ),
        ],
        model: str = models.default,
        crop: _Crop = None,
    ) -> BeforeAndAfter:
        """What the model would say with another memory, beside what it says; its own stays as it is."""
        return await _done(
            soon,
            lambda: answers.edited(models, model, lambda: _read(image), edits, crop, _read),
        )

    return server


async def _done(threads: Threads, work: Callable[[], Any]) -> Any:
    """What the work gives, or a refusal that is one sentence."""
    try:
        with threads.place():
            return await threads.begin(work)
    except REFUSALS as error:
        raise ToolError(str(error)) from None
    except Exception:
        _log.exception("failed")
        raise ToolError(_WRONG) from None


def _read(image: Any) -> Image.Image:
    """The picture in base64."""
    if not isinstance(image, str):
        raise ImageError("The image is expected as base64.")
    text = image.partition(",")[2] if image.startswith("data:") else image
    try:
        return decoded(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError("The image is expected as base64, and is no base64.") from None
