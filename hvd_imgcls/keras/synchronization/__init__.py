"""How ranks are kept in step."""
