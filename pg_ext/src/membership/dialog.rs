//! Talking to a server that is not a member yet, outside of any transaction.
