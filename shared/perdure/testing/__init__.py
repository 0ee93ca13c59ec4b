"""What tests are made of: virtual time, contract suites for every port, named faults."""
