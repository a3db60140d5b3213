"""``aisecops mcp``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.mcp.mcp_commands"
_SETUP = "aisecops_server.cli.mcp.mcp_setup_commands"

mcp = group(
    "mcp",
    help="Govern the tool servers of any MCP client.",
    entries={
        "proxy": Entry(f"{_HERE}:proxy", "Stand between an MCP client and its servers, and decide every call."),
        "wrap": Entry(f"{_SETUP}:wrap", "Rewrite a client's configuration so that its servers are governed."),
        "inspect": Entry(f"{_SETUP}:inspect", "Show which tools servers say that they have."),
        "pin": Entry(f"{_SETUP}:pin", "Write down what servers say of their tools now."),
    },
    examples="""
    aisecops mcp proxy --name filesystem -- npx -y @modelcontextprotocol/server-filesystem .
    aisecops mcp wrap claude_desktop_config.json --token-file /etc/agent.token
    aisecops mcp inspect -- npx -y @modelcontextprotocol/server-memory
    """,
)
