"""MCP: what a server is, one pool of live connections, and its tools as `Tool`s.

Serving MCP ourselves does not live here: the lab's server is in `aof_nb.lab`.
"""
