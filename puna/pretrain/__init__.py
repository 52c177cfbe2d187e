"""Token shards -> base model: pack, loader, loss, schedule, optimizer, checkpoint, loop."""
