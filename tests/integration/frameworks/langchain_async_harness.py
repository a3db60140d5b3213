"""The same with asyncio, which other hooks of the framework are called for."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.integration.frameworks.langchain_harness import LangChain, LangGraph


class AsyncLangChain(LangChain):
    name = "langchain, asyncio"

    def invoke(self, graph: Any, given: Any, config: Any) -> Any:
        # A loop of its own each time, as programs have that are called now and then.
        return asyncio.run(graph.ainvoke(given, config))


class AsyncLangGraph(LangGraph):
    name = "langgraph, asyncio"

    def invoke(self, graph: Any, given: Any, config: Any) -> Any:
        return asyncio.run(graph.ainvoke(given, config))
