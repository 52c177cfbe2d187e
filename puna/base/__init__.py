"""What all parts share: errors, config, records, random numbers, durable files, and the output of a stage."""
