"""The MCP policy proxy: an agent's tool calls are decided, granted and recorded without a change to the agent.

It stands between an MCP client and its servers and passes their messages on as they are. What asks a server to do
something is decided first, on the very bytes that are forwarded; without a plain yes the server does not see it.
"""
