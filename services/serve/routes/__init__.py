"""HTTP routes, one file a resource: validate, call one service, answer."""
