"""The wire format between the page and whoever computes for it: requests, responses, bundles (PROTOCOL.md)."""
