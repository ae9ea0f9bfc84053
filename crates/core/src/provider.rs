//! The providers that call us: what each one signs, and what it says.
//!
//! Each is pure: bytes, headers and secrets in, words of the domain out. Must not know the table, nor
//! what is done about what was said.

pub mod whatsapp;
