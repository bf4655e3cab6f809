//! The subcommands with which the command acts as a client, one module each.

pub(crate) mod admin;
pub(crate) mod deregister;
pub(crate) mod discover;
pub(crate) mod health;
pub(crate) mod heartbeat;
pub(crate) mod keep;
pub(crate) mod keygen;
pub(crate) mod network;
mod page;
pub(crate) mod register;
pub(crate) mod verify;
