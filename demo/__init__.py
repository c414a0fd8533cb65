"""An app database with believable data, and what it takes to try the pipeline on one machine."""
