//! Everything that runs the system on one machine: the dev server, the DynamoDB emulator, the
//! simulated providers, a Lambda Runtime API for the functions' binaries, and the command line.

pub mod cli;
pub mod emulator;
pub mod function_list;
pub mod functions;
pub mod openapi;
pub mod runtime_api;
pub mod server;
pub mod simulated;
pub mod whose;
