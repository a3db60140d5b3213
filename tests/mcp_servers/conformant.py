"""A server of everything that the conformance suite of MCP asks for, over HTTP, at a port that it says itself.

The names and words of its tools, resources and prompts are those that the suite looks for.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Annotated, Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer, RequestStateSecurity
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field, create_model

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
KEY = b"a key that is good for nothing but this test"
SECURED = RequestStateSecurity(keys=[KEY])
server = MCPServer("conformant", version="1", log_level="CRITICAL", request_state_security=SECURED)
Input = InputRequiredResult


def tool(work: Any) -> Any:
    """Offer a tool by the name that the suite has for it, which describes it too."""
    return server.tool(name=f"test_{work.__name__}", description=work.__name__.replace("_", " "))(work)


def prompt(work: Any) -> Any:
    """Offer a prompt by the name that the suite has for it, which describes it too."""
    return server.prompt(name=f"test_{work.__name__}", description=work.__name__.replace("_", " "))(work)


class Kept(EventStore):
    """The events of all streams, in the order in which they were sent."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if not last_event_id.isdigit() or not 0 < int(last_event_id) <= len(self.events):
            return None
        wanted = self.events[int(last_event_id) - 1][0]
        for number, (stream, message) in enumerate(self.events[:], 1):
            if number > int(last_event_id) and stream == wanted and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return wanted


# --- tools -----------------------------------------------------------------------------------------------------------


def embedded(uri: str, text: str, kind: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=kind, text=text))


@tool
def simple_text() -> str:
    return "This is a simple text response for testing."


@tool
def image_content() -> list[ImageContent]:
    return [ImageContent(type="image", data=PIXEL, mime_type="image/png")]


@tool
def audio_content() -> list[AudioContent]:
    return [AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")]


@tool
def embedded_resource() -> list[EmbeddedResource]:
    return [embedded("test://embedded-resource", "This is an embedded resource content.")]


@tool
def multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    return [
        TextContent(type="text", text="Multiple content types test:"),
        ImageContent(type="image", data=PIXEL, mime_type="image/png"),
        embedded("test://mixed-content-resource", '{"test": "data", "value": 123}', "application/json"),
    ]


@tool
async def tool_with_logging(ctx: Context) -> str:
    for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(said)
        await asyncio.sleep(0.05)
    return "Tool with logging executed successfully"


@tool
async def tool_with_progress(ctx: Context) -> str:
    for done in (0, 50, 100):
        await ctx.report_progress(progress=done, total=100, message=f"Completed step {done} of 100")
        await asyncio.sleep(0.05)
    return "done"


@tool
async def sampling(prompt: str, ctx: Context) -> str:
    asked = [SamplingMessage(role="user", content=TextContent(type="text", text=prompt))]
    answer = await ctx.session.create_message(messages=asked, max_tokens=100, related_request_id=ctx.request_id)
    return f"LLM response: {answer.content.text if answer.content.type == 'text' else ''}"


class Response(BaseModel):
    response: str = Field(description="User's response")


class Defaults(BaseModel):
    name: str = Field(default="John Doe")
    age: int = Field(default=30)
    score: float = Field(default=95.5)
    status: str = Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = Field(default=True)


def titled(**titles: str) -> list[dict[str, str]]:
    return [{"const": value, "title": title} for value, title in titles.items()]


# The suite looks for these names.
CHOICES: dict[str, dict[str, Any]] = {
    "untitledSingle": {"enum": ["active", "inactive", "pending"]},
    "titledSingle": {"oneOf": titled(low="Low", medium="Medium", high="High")},
    "untitledMulti": {"items": {"type": "string", "enum": ["read", "write"]}},
    "titledMulti": {"items": {"anyOf": titled(bug="Bug", docs="Documents")}},
    "legacyEnum": {"enum": ["small", "large"], "enumNames": ["Small Size", "Large Size"]},
}
Choices = create_model(
    "Choices",
    **{
        name: (list[str] if "items" in extra else str, Field(json_schema_extra=extra))
        for name, extra in CHOICES.items()
    },
)


async def elicited(ctx: Context, message: str, schema: type[BaseModel]) -> str:
    answer = await ctx.elicit(message=message, schema=schema)
    content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
    return f"action={answer.action}, content={content}"


@tool
async def elicitation(message: str, ctx: Context) -> str:
    return f"User response: {await elicited(ctx, message, Response)}"


@tool
async def elicitation_sep1034_defaults(ctx: Context) -> str:
    return f"Elicitation result: {await elicited(ctx, 'Please provide user information', Defaults)}"


@tool
async def elicitation_sep1330_enums(ctx: Context) -> str:
    return f"Elicitation completed: {await elicited(ctx, 'Please select', Choices)}"


@tool
def error_handling() -> str:
    raise RuntimeError("This tool intentionally returns an error for testing")


Region = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]


@tool
def x_mcp_header(region: Region = "<none>") -> str:
    return f"region={region}"


@tool
async def missing_capability(ctx: Context) -> str:
    declared = ctx.session.client_capabilities
    if declared is None or declared.sampling is None:
        needed = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(code=MISSING_REQUIRED_CLIENT_CAPABILITY, message="needs 'sampling'", data=needed)
    return "declared"


@tool
async def reconnection(ctx: Context) -> str:
    await ctx.info("Before disconnect")
    await ctx.close_sse_stream()
    await asyncio.sleep(0.2)
    await ctx.info("After reconnect")
    return "Reconnection test completed"


@tool
async def trigger_tool_change(ctx: Context) -> str:
    server.add_tool(lambda: "dynamic", name="test_dynamic_tool")
    server.remove_tool("test_dynamic_tool")
    await ctx.notify_tools_changed()
    return "tool list changed"


@tool
async def trigger_prompt_change(ctx: Context) -> str:
    server.add_prompt(Prompt.from_function(lambda: "dynamic", name="test_dynamic_prompt", description="dynamic"))
    server.remove_prompt("test_dynamic_prompt")
    await ctx.notify_prompts_changed()
    return "prompt list changed"


# --- input that a result asks for ------------------------------------------------------------------------------------


def question(message: str, **properties: str) -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind} for name, kind in properties.items()}}
    schema["required"] = list(properties)
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(text: str) -> CreateMessageRequest:
    said = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[said], max_tokens=50))


NAME = question("What is your name?", name="string")


def content_of(answer: Any) -> dict[str, Any]:
    return dict(getattr(answer, "content", None) or {})


@tool
async def input_required_result_elicitation(ctx: Context) -> str | Input:
    if given := (ctx.input_responses or {}).get("user_name"):
        return f"Hello, {content_of(given).get('name')}!"
    return Input(input_requests={"user_name": NAME})


@tool
async def input_required_result_sampling(ctx: Context) -> str | Input:
    if given := (ctx.input_responses or {}).get("capital_question"):
        return f"Model said: {given.content.text}"
    return Input(input_requests={"capital_question": sample("What is the capital of France?")})


@tool
async def input_required_result_list_roots(ctx: Context) -> str | Input:
    if given := (ctx.input_responses or {}).get("client_roots"):
        return f"Client exposed {len(given.roots)} root(s)."
    return Input(input_requests={"client_roots": ListRootsRequest()})


@tool
async def input_required_result_request_state(ctx: Context) -> str | Input:
    if "confirm" in (ctx.input_responses or {}) and ctx.request_state == "nonce":
        return "state-ok: confirmation received"
    return Input(input_requests={"confirm": question("Please confirm", ok="boolean")}, request_state="nonce")


@tool
async def input_required_result_multiple_inputs(ctx: Context) -> str | Input:
    wanted = {"user_name": NAME, "greeting": sample("Generate a greeting"), "client_roots": ListRootsRequest()}
    if wanted.keys() <= (ctx.input_responses or {}).keys():
        return "All inputs received."
    return Input(input_requests=wanted, request_state="multiple")


@tool
async def input_required_result_multi_round(ctx: Context) -> str | Input:
    state = json.loads(ctx.request_state) if ctx.request_state else {"round": 0}
    given = ctx.input_responses or {}
    if state["round"] == 1 and "step1" in given:
        after = json.dumps({"round": 2, "name": content_of(given["step1"]).get("name")})
        return Input(input_requests={"step2": question("Step 2: your color?", color="string")}, request_state=after)
    if state["round"] == 2 and "step2" in given:
        return f"{state['name']} likes {content_of(given['step2']).get('color')}."
    first = question("Step 1: What is your name?", name="string")
    return Input(input_requests={"step1": first}, request_state=json.dumps({"round": 1}))


@tool
async def input_required_result_tampered_state(ctx: Context) -> str | Input:
    if ctx.request_state is None:
        return Input(input_requests={"confirm": question("Please confirm", ok="boolean")}, request_state="round-1")
    return f"state-ok: {ctx.request_state}"


@tool
async def input_required_result_capabilities(ctx: Context) -> Input:
    able, wanted = ctx.client_capabilities, {}
    if able is None or able.sampling is not None:
        wanted["sample"] = sample("Say hello")
    if able is None or able.elicitation is not None:
        wanted["ask"] = NAME
    return Input(input_requests=wanted, request_state="gated")


@prompt
async def input_required_result_prompt(ctx: Context) -> list[UserMessage] | Input:
    if given := (ctx.input_responses or {}).get("user_context"):
        text = f"Use the following context: {content_of(given).get('context')}"
        return [UserMessage(role="user", content=TextContent(type="text", text=text))]
    return Input(input_requests={"user_context": question("What context?", context="string")})


# --- a schema with every word of it ----------------------------------------------------------------------------------

ADDRESS = {"$anchor": "addressDef", "type": "object", "properties": {"street": {"type": "string"}}}
ADDRESS["properties"]["city"] = {"type": "string"}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": ADDRESS},
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@server.tool(name="json_schema_2020_12_tool", description="a schema")
def json_schema_2020_12_tool() -> str:
    return "json_schema_2020_12_tool"


server._tool_manager._tools["json_schema_2020_12_tool"].parameters = SCHEMA

# --- resources and prompts -------------------------------------------------------------------------------------------


@server.resource("test://static-text")
def static_text() -> str:
    return "This is the content of the static text resource."


@server.resource("test://static-binary")
def static_binary() -> bytes:
    return base64.b64decode(PIXEL)


@server.resource("test://template/{id}/data")
def template(id: str) -> str:
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


@server.resource("test://watched-resource")
def watched() -> str:
    return "Watched resource content"


def said(*content: Any) -> list[UserMessage]:
    return [UserMessage(role="user", content=one) for one in content]


@prompt
def simple_prompt() -> list[UserMessage]:
    return said(TextContent(type="text", text="This is a simple prompt for testing."))


@prompt
def prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    return said(TextContent(type="text", text=f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))


@prompt
def prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 - the suite's name
    please = TextContent(type="text", text="Please process the embedded resource above.")
    return said(embedded(resourceUri, "Embedded resource content for testing."), please)


@prompt
def prompt_with_image() -> list[UserMessage]:
    please = TextContent(type="text", text="Please analyze the image above.")
    return said(ImageContent(type="image", data=PIXEL, mime_type="image/png"), please)


async def heard(_context: Any, _params: Any) -> EmptyResult:
    return EmptyResult()


for method, kind in (
    ("logging/setLevel", SetLevelRequestParams),
    ("resources/subscribe", SubscribeRequestParams),
    ("resources/unsubscribe", UnsubscribeRequestParams),
):
    server._lowlevel_server.add_request_handler(method, kind, heard)


@server.completion()
async def completed(_ref: Any, _argument: Any, _context: Any) -> Completion:
    return Completion(values=[], total=0, has_more=False)


if __name__ == "__main__":
    app = server.streamable_http_app(event_store=Kept(), retry_interval=100)
    running = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    announce = running.startup

    async def startup(sockets: Any = None) -> None:
        await announce(sockets=sockets)
        sys.stdout.write(f"{running.servers[0].sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()

    running.startup = startup  # type: ignore[method-assign]
    running.run()
