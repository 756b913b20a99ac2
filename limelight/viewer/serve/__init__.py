"""The HTTP server of the page: routes, access, uploads, sessions, one worker."""
