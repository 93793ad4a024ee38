"""The agent's Markdown on its way to a platform: parsed, cut into messages, and only then rendered.

``parsing.parse`` reads it into a document, ``splitting.split`` cuts that into documents which each fit one message of
the platform, and a renderer writes each in the platform's own way.
"""
