"""Reading and checking exported model files."""
