//! Unwind tables of a binary in which nothing unwinds.
//!
//! In the profile `dist` a panic ends the process, so nobody reads the tables that say how to walk up the
//! stack. Cargo and the linker keep them, because the standard library comes with its own. Filled with zeros
//! they are an empty table to whoever reads them after all, as a backtrace does, and vanish in a zip file.

use object::{Object as _, ObjectSection as _};

/// The sections with the tables, and with the index by which they are searched.
const TABLES: [&str; 2] = [".eh_frame", ".eh_frame_hdr"];

/// Fills the unwind tables of a binary with zeros. Returns `None` for bytes that are no binary.
pub(super) fn clear_tables(binary: &mut [u8]) -> Option<()> {
    let ranges: Vec<_> = {
        let parsed = object::File::parse(&*binary).ok()?;
        TABLES
            .iter()
            .filter_map(|name| parsed.section_by_name(name)?.file_range())
            .map(|(from, len)| Some(usize::try_from(from).ok()?..usize::try_from(from + len).ok()?))
            .collect::<Option<_>>()?
    };
    for range in ranges {
        binary.get_mut(range)?.fill(0);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tables_of_a_binary_are_cleared() {
        let original = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut cleared = original.clone();
        clear_tables(&mut cleared).unwrap();
        let before = object::File::parse(&*original).unwrap();
        let after = object::File::parse(&*cleared).unwrap();
        let tables = TABLES.map(|name| before.section_by_name(name).unwrap().size());
        assert!(tables.iter().all(|size| *size > 1_000));
        for section in before.sections() {
            let name = section.name().unwrap();
            let left = after.section_by_name(name).unwrap().data().unwrap();
            if TABLES.contains(&name) {
                assert!(left.iter().all(|byte| *byte == 0), "{name}");
            } else {
                assert_eq!(left, section.data().unwrap(), "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_binary_has_no_tables() {
        assert_eq!(clear_tables(&mut b"#!/bin/sh".to_vec()), None);
    }
}
