"""What doctor looks at: each function takes a run's configuration and says what it found."""
