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

/// In lower case and without accents, with one `_` for each run of other characters than letters and digits:
/// `Mentoria Individual` is `mentoria_individual`.
pub(crate) fn words(text: &str) -> String {
    let plain = plain(text);
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

/// Text as it goes out to others: without control characters, but for line feeds and tabs, and without
/// the characters that turn the direction of the text around them, by which one text can be made to
/// look like another (Unicode Standard Annex 9).
pub(crate) fn outgoing(text: &str) -> String {
    let is_hidden = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || turns_direction(c);
    text.chars().filter(|c| !is_hidden(*c)).collect()
}

const fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_the_words_of_a_name() {
        for (text, expected) in [
            ("consultoria", "consultoria"),
            ("Saúde & Bem-estar", "saude_bem_estar"),
            ("  E-commerce ", "e_commerce"),
            ("", ""),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

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

    #[test]
    fn what_nobody_sees_does_not_go_out() {
        for (text, expected) in [
            ("Ana\u{202e}gpj.exe", "Anagpj.exe"),
            ("a\u{0}b\u{7}c\u{1b}[31md\u{85}e", "abc[31mde"),
            ("uma linha\r\noutra\tfim", "uma linha\noutra\tfim"),
            ("\u{2066}Zé\u{2069} 👩\u{200d}💻 نعم", "Zé 👩\u{200d}💻 نعم"),
        ] {
            assert_eq!(outgoing(text), expected);
        }
    }
}
