//! Tests.

mod binaries;
