"""What all sessions of this process see of a file: read once, computed once."""
