"""The scheduler process: runs workflow code for one or more task queues."""
