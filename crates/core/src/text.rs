//! Formatting of text that people read, with one module for each language.

pub mod pt_br;
