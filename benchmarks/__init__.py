"""What Headrace costs, side by side with what else could do the work. `make bench` prints the table."""
