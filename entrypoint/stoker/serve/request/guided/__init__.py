"""Texts that must have a form: whatever a request asks for (a JSON schema, a regular expression, a choice, a grammar,
a tool call) becomes one grammar of our own, which is checked and written in the engine's notation.

The engine never sees a schema or an expression that a client wrote. What our grammar cannot say exactly is refused by
name, so that nothing is silently ignored and nothing makes an engine's step fail.
"""
