"""Thin handlers: parse, call, render. What they tell, others know.

Each is `async def name(request, context) -> web.Response`; the path's variables
are in `request[PARAMS]`. Errors are raised as those of the catalogue and
rendered by whoever calls. Pages are in proxy.web.
"""
