"""The activity worker process: runs activity code for one or more task queues."""
