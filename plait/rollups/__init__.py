"""Rollups as Plait drives them: embedded ones (executed by the native core) and, later, remote OP Stack nodes."""
