//! Accepting requests: the forms, their limits, duplicates, hostile requests, and errors of the table.

mod attacks;
mod capacity;
mod consent;
mod dynamodb_errors;
mod idempotency;
mod lead;
mod limits;
mod payload_formats;
mod questionnaire;
mod rates;
mod refusals;
mod robots;
mod samples;
mod scores;
mod signed_rewrites;
mod site_forms;
mod spam;
mod strangers;
