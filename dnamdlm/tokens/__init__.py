"""Text and DNA to token ids and back; numpy and the standard library only."""
