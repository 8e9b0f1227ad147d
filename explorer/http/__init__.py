"""How requests are answered: handler, static files, server-sent events, health, drafts."""
