"""Suggestions while a query is being typed."""
