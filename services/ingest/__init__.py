"""From what shops send and files hold to validated, cleaned events and items."""
