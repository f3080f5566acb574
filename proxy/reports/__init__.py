"""What operators ask of the records on the command line: tail, analyze, usage."""
