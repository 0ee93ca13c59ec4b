"""What the demo needs besides its story: processes to start and kill, and tables to look at."""
