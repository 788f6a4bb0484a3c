"""What everything speaks: types, identity, errors, statistics. Pure: no process, no file it was not handed."""
