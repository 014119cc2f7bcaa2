"""The command line, `mdp`."""
