"""Portrait's services: each folder is one concept of the domain; README.md draws how data flows through them."""
