"""This against its peers."""
