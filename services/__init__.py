"""Portrait's services: each folder is one concept of the domain; docs/architecture.md draws how data flows through them."""
