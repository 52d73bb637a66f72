"""The pages of a person's library, at an address that nobody can guess."""
