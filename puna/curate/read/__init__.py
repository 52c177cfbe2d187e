"""Files of any usual kind -> records: one page or text each."""
