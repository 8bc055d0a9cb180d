"""Recognising over HTTP: one process, one recogniser, and limits on everything that comes in.

`app.create_app` makes the application, `run.run_service` serves it until it is stopped; both need the extra ``serve``.
"""
