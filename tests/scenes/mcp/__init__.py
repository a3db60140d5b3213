"""MCP clients, proxies and servers, and what others publish for MCP."""
