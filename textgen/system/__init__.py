"""What the machine is asked for.

Processes and threads, signals, whole files, hardware, the terminal.
"""
