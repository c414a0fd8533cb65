"""Real servers on the loopback interface, for tests."""
