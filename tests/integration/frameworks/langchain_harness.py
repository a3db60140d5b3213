"""LangChain's agents and LangGraph's tool nodes, with the fake chat model that LangChain ships."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from aisecops_client.frameworks._bridge import Bridge
from aisecops_client.frameworks.langchain import governed
from aisecops_client.frameworks.langgraph import governed_node
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from tests.integration.frameworks.scene import PROMPT, Call, Tools, Turn

_threads, _numbers = itertools.count(1), itertools.count(1)


class Scripted(GenericFakeChatModel):
    """Says what it was told to say, whatever tools it is offered."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def scripted(turns: Sequence[Sequence[Call]]) -> Scripted:
    messages = [
        AIMessage(
            "", tool_calls=[{"name": name, "args": given, "id": f"call-{next(_numbers)}"} for name, given in turn]
        )
        for turn in turns
    ]
    return Scripted(messages=iter([*messages, AIMessage("done")]))


class Graph(ABC):
    """What both have in common: a compiled graph with a checkpoint after each step."""

    name = ""
    pauses_again = True

    @abstractmethod
    def graph(self, bridge: Bridge, tools: list[Any], model: Any) -> Any: ...

    def run(self, bridge: Bridge, tools: Tools, turns: Sequence[Sequence[Call]], prompt: str = PROMPT) -> Turn:
        graph = self.graph(bridge, [tool(function) for function in tools.functions], scripted(turns))
        config = {"configurable": {"thread_id": f"thread-{next(_threads)}"}}
        return self._turn(graph, config, {"messages": [("user", prompt)]})

    def _turn(self, graph: Any, config: Any, given: Any) -> Turn:
        state = self.invoke(graph, given, config)
        told = [str(message.content) for message in state["messages"] if isinstance(message, ToolMessage)]
        interrupts = state.get("__interrupt__", ())
        # As an application does that has no idea what the values mean.
        answers = {item.id: {"decision": "go on"} for item in interrupts}
        return Turn(
            told,
            [item.value["approval_id"] for item in interrupts],
            lambda: self._turn(graph, config, Command(resume=answers)),
        )

    def invoke(self, graph: Any, given: Any, config: Any) -> Any:
        return graph.invoke(given, config)


class LangChain(Graph):
    name = "langchain"

    def graph(self, bridge: Bridge, tools: list[Any], model: Any) -> Any:
        return create_agent(model, tools, middleware=governed([], bridge), checkpointer=InMemorySaver())


class LangGraph(Graph):
    """A graph that somebody wrote by hand: one node for all calls of a turn."""

    name = "langgraph"

    def graph(self, bridge: Bridge, tools: list[Any], model: Any) -> Any:
        graph = StateGraph(MessagesState)
        graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
        graph.add_node("tools", governed_node(tools, bridge))
        graph.add_edge(START, "model")
        graph.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1].tool_calls else END)
        graph.add_edge("tools", "model")
        return graph.compile(checkpointer=InMemorySaver())
