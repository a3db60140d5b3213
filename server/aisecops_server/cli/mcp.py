"""``aisecops mcp``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.mcp_commands"

mcp = group(
    "mcp",
    help="Govern the tool servers of any MCP client.",
    entries={
        "proxy": Entry(f"{_HERE}:proxy", "Stand between an MCP client and its servers, and decide every call."),
    },
    examples="""
    aisecops mcp proxy --name filesystem -- npx -y @modelcontextprotocol/server-filesystem .
    aisecops mcp proxy --servers claude_desktop_config.json
    """,
)
