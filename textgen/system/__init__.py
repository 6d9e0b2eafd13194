"""What the machine is asked for: threads, signals, whole files, the terminal."""
