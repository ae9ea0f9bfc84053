//! What `lead-submit` refuses, and how it says so.
