//! Text of people: which words are the same, and formatting for readers, with one module for each
//! language.

pub mod pt_br;

use icu_normalizer::DecomposingNormalizerBorrowed;

/// In lower case and without accents: `São` and `SAO` are `sao`.
pub(crate) fn plain(text: &str) -> String {
    let nfd = DecomposingNormalizerBorrowed::new_nfd();
    let is_accent = |c: &char| ('\u{300}'..='\u{36f}').contains(c);
    nfd.normalize_iter(text.to_lowercase().chars()).filter(|c| !is_accent(c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_make_no_other_word() {
        for (text, expected) in [
            ("", ""),
            ("R$ 5.000 a 10.000", "r$ 5.000 a 10.000"),
            ("ÁÀÂÃÄ ÉÈÊ Í ÓÔÕÖ ÚÜ Ç", "aaaaa eee i oooo uu c"),
            ("Na\u{303}o sei", "nao sei"),
            ("日本語", "日本語"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
