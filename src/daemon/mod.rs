//! Layer 3: the loop. It translates what is ready into events and actions into calls, and decides nothing.
