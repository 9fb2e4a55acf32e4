"""From voted threads to preference pairs: readers, rules, audits and the TFDS builder."""
