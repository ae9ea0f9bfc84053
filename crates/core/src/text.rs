//! Text for people: how moments and words are written in a language.

pub mod pt_br;
