"""The one canonical encoding of what is hashed, signed or stored. Level 0."""
