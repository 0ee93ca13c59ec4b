"""What is measured: each line a job of the load with its sizes, figures and targets."""
