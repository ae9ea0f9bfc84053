//! Accepting: forms, limits, repetition, hostile requests, and what the table may answer.

mod attacks;
mod capacity;
mod consent;
mod dynamodb_errors;
mod idempotency;
mod lead;
mod limits_and_bodies;
mod payload_formats;
mod questionnaire;
