"""What may go wrong while a model trains: found, decided on, undone, proved."""
